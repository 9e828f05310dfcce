use proptest::prelude::*;

use super::*;

#[test]
fn the_first_block_is_small_and_the_others_follow() {
    assert_eq!(block_range(0), 0..2048);
    assert_eq!(block_range(1), 2048..2048 + 16384);
    assert_eq!(block_range(2), 2048 + 16384..2048 + 2 * 16384);
    assert_eq!(block_indices(&(0..2048)), 0..1);
    assert_eq!(block_indices(&(2047..2049)), 0..2);
    assert!(block_indices(&(5000..5000)).is_empty());
}

proptest! {
    #[test]
    fn every_offset_lies_in_its_block(offset in prop_oneof![0..100_000u64, 0..u64::MAX]) {
        let index = block_index(offset);
        let range = block_range(index);
        assert!(range.contains(&offset));
        // The last block of the number line is cut.
        assert!(range.end - range.start == block_size(index).bytes() as u64 || range.end == u64::MAX);
        assert_eq!(block_range(index + 1).start, range.end);
    }
}

#[test]
fn blocks_are_charged_while_taken_and_reused_when_free() {
    let (mut pool, mut account, mut budget) =
        (BlockPool::new(usize::MAX), Account::new(LARGE), Budget::new(2 * LARGE));
    let mut ranges = 0;
    let mut memory =
        Memory { pool: &mut pool, account: &mut account, budget: &mut budget, ranges: &mut ranges };
    let mut block = memory.take(BlockSize::Small).unwrap();
    assert_eq!(memory.take(BlockSize::Large).unwrap_err(), OverBudget::Connection);
    block.part_mut(0, &(0..1)).1[0] = 7;
    memory.account.check(SMALL);

    memory.put(block);
    memory.account.check(0);
    assert_eq!(memory.pool.free_bytes(), SMALL);
    assert_eq!(memory.take(BlockSize::Small).unwrap().part(0, &(0..1)), (0, &[7][..]));
    assert_eq!(memory.pool.free_bytes(), 0);
}

#[test]
fn the_pool_keeps_a_bounded_number_of_free_blocks() {
    let mut pool = BlockPool::new(usize::MAX);
    for _ in 0..FREE_SMALL + 10 {
        pool.put(Block(vec![0; SMALL].into_boxed_slice()));
        pool.put(Block(vec![0; LARGE].into_boxed_slice()));
    }
    let lists = (pool.small.capacity() + pool.large.capacity()) * size_of::<Block>();
    assert_eq!(pool.free_bytes(), FREE_SMALL * SMALL + FREE_LARGE * LARGE);
    assert!(pool.free_bytes() + lists <= BlockPool::SLACK);
}

#[test]
fn the_pool_of_a_small_endpoint_is_small() {
    let limit = 64 * (LARGE + SMALL);
    let mut pool = BlockPool::new(limit);
    for _ in 0..3 {
        pool.put(Block(vec![0; SMALL].into_boxed_slice()));
        pool.put(Block(vec![0; LARGE].into_boxed_slice()));
    }
    assert!((1..=limit / FREE_SHARE).contains(&pool.free_bytes()), "{}", pool.free_bytes());
}
