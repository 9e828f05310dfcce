use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

#[test]
fn each_limit_holds_on_its_own() {
    let mut budget = Budget::new(150);
    let (mut a, mut b) = (Account::new(100), Account::new(100));
    assert_eq!(a.charge(&mut budget, 101), Err(OverBudget::Connection));
    assert_eq!(a.charge(&mut budget, 100), Ok(()));
    assert_eq!(b.charge(&mut budget, 51), Err(OverBudget::Endpoint));
    assert_eq!(b.charge(&mut budget, 50), Ok(()));
    budget.check(a.used() + b.used());
    a.close(&mut budget);
    b.settle(&mut budget, 50);
    budget.check(100);
    b.settle(&mut budget, 120);
    budget.check(170);
    assert_eq!(
        b.charge(&mut budget, 1),
        Err(OverBudget::Connection),
        "bookkeeping beyond the limit stops the rest"
    );
    assert_eq!(a.charge(&mut budget, 1), Err(OverBudget::Endpoint));
}

#[test]
fn charges_of_any_size_are_refused_without_overflow() {
    let mut budget = Budget::new(usize::MAX);
    let mut account = Account::new(usize::MAX);
    assert_eq!(account.charge(&mut budget, usize::MAX - 1), Ok(()));
    assert_eq!(account.charge(&mut budget, 2), Err(OverBudget::Connection));
    assert_eq!(budget.charge(usize::MAX), Err(OverBudget::Endpoint));
    account.close(&mut budget);
    budget.check(0);
}

#[test]
fn what_is_overdrawn_never_becomes_credit() {
    let (limit, mut budget) = (100 << 10, Budget::new(1 << 30));
    let mut account = Account::new(limit);
    let credit = account.reserve_credit(&mut budget, 40 << 10) as usize;
    account.charge_received(&mut budget, limit).unwrap();
    account.charge_readable(&mut budget, 16 << 10).unwrap();
    assert_eq!(account.used(), limit + (16 << 10));
    let credit = account.reserve_credit(&mut budget, 1 << 20) as usize - credit;
    assert!(credit <= limit - (40 << 10), "{credit} more");
    account.release_received(&mut budget, limit + (16 << 10));
    assert_eq!(account.used(), limit);
    account.close(&mut budget);
    budget.check(0);
}

proptest! {
    #[test]
    fn the_budget_is_the_sum_of_its_accounts(
        ops in proptest::collection::vec((0..3usize, 0..4u8, 0..60usize), 1..100)
    ) {
        let mut budget = Budget::new(150);
        let mut accounts = [Account::new(80), Account::new(80), Account::new(80)];
        let mut charged = [0usize; 3];
        for (who, op, bytes) in ops {
            let account = &mut accounts[who];
            let before = (account.used(), budget.used());
            let outcome = match op {
                0 => account.charge(&mut budget, bytes).map(|()| charged[who] += bytes),
                1 => {
                    account.settle(&mut budget, bytes);
                    Ok(())
                }
                2 => {
                    account.release(&mut budget, bytes.min(charged[who]));
                    charged[who] -= bytes.min(charged[who]);
                    Ok(())
                }
                _ => {
                    account.close(&mut budget);
                    charged[who] = 0;
                    Ok(())
                }
            };
            if outcome.is_err() {
                assert_eq!((account.used(), budget.used()), before);
            }
            account.check(charged[who]);
            budget.check(accounts.iter().map(Account::used).sum());
        }
    }
}

#[test]
fn received_data_draws_on_the_credit_first() {
    let mut budget = Budget::new(1000);
    let mut account = Account::new(500);
    assert_eq!(account.reserve_credit(&mut budget, 100), 100);
    assert_eq!(account.charge_received(&mut budget, 100), Ok(()));
    assert_eq!((account.used(), budget.used()), (100, 100), "what was promised costs nothing more");
    assert_eq!(account.charge_received(&mut budget, 30), Ok(()));
    assert_eq!((account.used(), budget.used()), (130, 130));
    assert_eq!(account.reserve_credit(&mut budget, 120), 120);
    assert_eq!(budget.used(), 130, "credit below what is held is free");
    assert_eq!(account.charge(&mut budget, 300), Ok(()));
    assert_eq!(
        account.reserve_credit(&mut budget, 400),
        149,
        "half of what is left but for a sixteenth of the limit"
    );
    assert_eq!(account.charge_received(&mut budget, 71), Err(OverBudget::Connection));
    account.release_received(&mut budget, 130);
    assert_eq!((account.used(), budget.used()), (449, 449), "credit stays reserved");
    account.close(&mut budget);
    assert_eq!(budget.used(), 0);
}

/// However greedy those are that have much, whoever comes later gets as much as the last of them, and who wants little gets it.
#[test]
fn large_credit_is_shared() {
    const LIMIT: usize = 1 << 30;
    let mut budget = Budget::new(LIMIT);
    let want = |account: &mut Account, budget: &mut Budget| {
        (0..50).map(|_| account.reserve_credit(budget, 64 << 20)).last().unwrap_or(0)
    };
    let mut alone = Account::new(128 << 20);
    assert_eq!(want(&mut alone, &mut budget), 64 << 20, "nobody else wants any");
    let mut accounts: Vec<Account> = (0..40).map(|_| Account::new(128 << 20)).collect();
    for _ in 0..50 {
        for account in &mut accounts {
            want(account, &mut budget);
        }
    }
    let last = accounts.iter().map(|account| account.credit as u64).min();
    assert!(budget.available() > LIMIT / 8, "{} of {LIMIT}", budget.available());
    let mut late = Account::new(128 << 20);
    let credit = want(&mut late, &mut budget);
    assert!(credit > 2 << 20 && Some(credit) >= last.map(|last| last * 9 / 10), "{credit} after {last:?}");
    accounts.iter_mut().for_each(|account| account.close(&mut budget));
    for account in [&mut late, &mut alone] {
        account.close(&mut budget);
    }
    budget.check(0);
    assert_eq!(budget.large, 0);
}

#[test]
fn data_to_send_leaves_room_for_what_sends_it() {
    let mut budget = Budget::new(10_000);
    let mut account = Account::new(320);
    assert_eq!(account.charge_written(&mut budget, 311), Err(OverBudget::Connection));
    assert_eq!(account.charge_written(&mut budget, 310), Ok(()));
    assert_eq!(account.writable(), 0);
    assert_eq!(account.charge(&mut budget, 10), Ok(()));
    account.release(&mut budget, 320);
    assert_eq!(account.reserve_credit(&mut budget, 1), 1);
    for _ in 0..20 {
        account.reserve_credit(&mut budget, 320);
    }
    assert!(account.writable() >= 10, "credit keeps out data to send: {account:?}");
    account.close(&mut budget);
    budget.check(0);
}
