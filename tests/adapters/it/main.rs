//! The same scenarios over every adapter, on real sockets on loopback.
//!
//! A scenario is written once, against the traits in `adapter`. Nothing in it is about time: what can get lost is tried
//! again, and what has a timeout either waits for ever or has nobody to hear it.

mod adapter;
mod custom;
mod over_mio;
mod over_tokio;
mod scenarios;
mod tunnel;
mod watch;

/// A test of each scenario for each adapter.
macro_rules! over_every_adapter {
    ($($area:ident: $($name:ident),+;)+) => {
        mod tokio_runs {
            $($(
                #[test]
                fn $name() {
                    crate::adapter::Adapter::run(crate::scenarios::$area::$name::<crate::over_tokio::Tokio>);
                }
            )+)+
        }

        mod mio_runs {
            $($(
                #[test]
                fn $name() {
                    crate::adapter::Adapter::run(crate::scenarios::$area::$name::<crate::over_mio::Mio>);
                }
            )+)+
        }
    };
}

over_every_adapter! {
    custom:
        path_custom_in_memory,
        path_custom_tunnelled_over_tcp,
        path_custom_carries_no_more_than_it_says,
        path_custom_that_loses_what_is_large_is_found_out,
        path_custom_beside_udp,
        path_custom_that_fails_loses_packets_and_nothing_else;
    dialling:
        nobody_answers_where_nobody_is,
        nobody_answers_to_a_wrong_key,
        a_refusal_carries_its_code,
        without_a_common_protocol_there_is_no_connection,
        both_families_meet_on_one_port;
    ends:
        a_close_carries_its_code_and_ends_everything,
        a_graceful_close_delivers_first,
        a_closed_endpoint_takes_nothing_new,
        an_endpoint_without_connections_closes_at_once;
    paths:
        path_every_address_answers_for_itself,
        path_a_dial_leaves_through_the_socket_that_it_names,
        path_sockets_are_used_side_by_side,
        path_another_first_socket_leaves_the_others_alone;
    several_paths:
        path_data_goes_on_when_one_of_two_is_closed_in_mid_transfer,
        path_answers_of_a_socket_for_all_addresses_leave_from_the_one_that_was_asked,
        path_events_with_lag_tell_how_many_and_the_paths_themselves_what_is,
        path_that_one_side_calls_a_backup_is_spared_by_both,
        path_verbs_say_what_is_wrong;
    qotp:
        qotp_carries_streams_in_both_flows,
        native_and_qotp_share_an_endpoint,
        qotp_is_not_there_unless_switched_on;
    streams:
        a_bulk_echo_has_the_same_hash,
        many_streams_do_not_mix,
        a_half_that_is_finished_leaves_the_other_open,
        resets_and_stops_carry_their_codes,
        datagrams_arrive_whole,
        several_connections_share_an_endpoint;
}
