#!/usr/bin/env bash
# Shows that the fault tests can fail: removes one safeguard after another from a copy of the sources, builds the copy, and requires that the
# named tests fail. The same tests must first pass on the unchanged copy.
# It must not change this working tree. The copy is in target/mutations.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin:/sbin
export PATH

COPY=$PWD/target/mutations/copy
SCAN_TOOLS=${SCAN_TOOLS:-$PWD/target/tools}
CARGO_TARGET_DIR=$PWD/target/mutations/target
export SCAN_TOOLS CARGO_TARGET_DIR

usage() {
    cat <<'TEXT'
usage: tests/mutations.sh [NAME…]   runs all mutations, or the named ones
       tests/mutations.sh check     runs nothing; checks that each mutation still applies and that its tests exist
TEXT
    printf 'mutations:\n'
    printf '  %s\n' "${!FILES[@]}" | sort
}

# mutation NAME FILE EDIT TESTS: an edit with sed, and the tests that must fail: fleet tests, or with `unit:` tests next to the code.
declare -A FILES EDITS TESTS
mutation() {
    FILES[$1]=$2 EDITS[$1]=$3 TESTS[$1]=$4
}

mutation fence src/claim_table/scripts/prelude.lua \
    "s/if held\[1\] == fence and redis/if redis/" \
    "a_stale_fence_changes_nothing random_operations_keep_the_table_consistent"
mutation cursor src/claim_table/scripts/ingest.lua \
    "/^if now_at\[1\] ~= args.cursor or now_at\[2\] ~= args.epoch then/d" \
    "the_cursor_moves_only_by_compare_and_set random_operations_keep_the_table_consistent"
mutation begun src/claim_table/scripts/claim.lua \
    "s/^    if number_of(task\[9\], 1) == 1 and .* then/    if true then/" \
    "a_scan_begins_again_only_without_a_checkpoint a_scan_that_moved_to_another_server_began_with_the_first_one"
mutation commit src/claim_table/scripts/positions.lua \
    "s/redis.call('ZRANGE', open_key(partition), 0, 0, 'WITHSCORES')\[2\]/redis.call('HGET', cursor_key, partition)/" \
    "the_committed_offset_never_passes_an_unfinished_task random_operations_keep_the_table_consistent"
mutation intact src/claim_table/scripts/prelude.lua \
    "s/return cursor\[3\] and offset and offset == number_of(mark)/return cursor[1] or mark/" \
    "a_missing_key_never_means_done"
mutation watermark src/claim_table/scripts/prelude.lua \
    "s/^local went_back = .*/local went_back = false/" \
    "a_redis_that_went_back_in_time_is_cleared every_lost_call_is_noticed_at_the_next_one a_task_whose_end_a_failover_lost_is_not_scanned_again"
mutation own_watermark src/claim_table/scripts/prelude.lua \
    "s/^local went_back = .*/local went_back = caller ~= '' and tonumber(noted_of_table or 0) < seen/" \
    "a_redis_that_went_back_in_time_is_cleared a_task_that_is_claimed_twice_after_a_failover_ends_once"
mutation takeover src/claim_table/scripts/ingest.lua \
    "s/^    refusal = refusal_of(fields, known)/    refusal = nil/" \
    "a_record_takes_no_task_over a_forged_retry_is_rejected_and_the_task_stays_as_it_was"
mutation restored src/claim_table/scripts/ingest.lua \
    "s/^    refusal = record.unless_known/    refusal = nil/" \
    "a_retry_of_a_task_that_is_not_restored_yet_is_rejected in_a_rebuild_a_forged_retry_that_is_read_before_the_task_is_rejected"
mutation judged src/scand/ingest/records.rs \
    "s/histories.was_rejected(&record_id, record.offset)/false/" \
    "a_forged_retry_is_rejected_and_the_task_stays_as_it_was"
mutation damaged src/kafka/plain_client/record_batches.rs \
    "s/        match checksum == Some(.*) {/        match checksum.is_some() {/" \
    "unit:a_batch_of_a_broker_is_decoded a_batch_that_cannot_be_decoded_is_not_skipped_unless_the_group_is_moved_past_it"
mutation refused src/kafka/librdkafka_client/refused_run.rs \
    "s/            Some(batch) if batch == self.batch => {/            Some(_) | None if offset > 0 => {/" \
    "unit:a_run_ends_at_the_first_batch_that_can_be_read"
mutation past_fence src/claim_table/ingest.rs \
    's/^    set("fence", past.fence.to_string());//' \
    "fences_increase_even_if_the_clock_of_redis_goes_back"
mutation replica src/claim_table/claims.rs \
    "s/^        self.wait_for_replica();//" \
    "decisions_wait_for_a_replica_but_not_for_one_that_does_not_answer"
mutation repeated src/scanpush/control/steer.rs \
    "s/let repeats = order == Order::Cancel \&\& /let repeats = false \&\& /" \
    "a_cancel_that_a_failover_lost_before_it_was_in_force_is_repeated"
mutation slow_clock src/claim_table/scripts/prelude.lua \
    "s/^local watermark = math.max(now_us, .*/local watermark = now_us/" \
    "fences_increase_even_if_the_clock_of_redis_goes_back"
mutation jump src/claim_table/scripts/answer.lua \
    "s/^if caller ~= '' then jump = follow_clock() end//" \
    "a_jump_of_redis_clock_leaves_the_times_that_remain_as_they_were running_scans_survive_jumps_of_redis_clock a_dead_servers_lease_ends_in_time_after_redis_clock_went_back"
mutation idle src/claim_table/scripts/claim.lua \
    "/^if redis.call('EXISTS', ready_key, throttled_jobs_key)/d" \
    "claim_and_renew_report_pending_work"
mutation refusing src/claim_table/scripts/claim.lua \
    '/^ *and not has_refused(marks, other.name, other.capabilities) then/s/and .*/then/' \
    "no_task_is_deferred_to_a_server_that_has_refused_it"
mutation skipped src/claim_table/scripts/claim.lua \
    "s/^    redis.call('HSET', me, 'skipped_to', first or behind, .*/    forget_skipped()/" \
    "refused_tasks_do_not_delay_every_later_claim"
mutation sends_no_more src/claim_table/claims.rs \
    's/sends_no_more: update.sends_no_more/sends_no_more: update.progress.all_sent()/' \
    "a_scan_that_has_finished_sending_frees_its_jobs_rate"
mutation discarded src/kafka/librdkafka_client/connection.rs \
    's/Some(_) => self.context().note_discarded(),/Some(_) => {}/' \
    "records_that_were_read_ahead_survive_a_slow_answer_about_the_topic"
mutation isolated src/kafka/librdkafka_client/reader.rs \
    's/let is_only = readable.len() == 1;/let is_only = true;/' \
    "an_error_belongs_to_its_own_partition_only"
mutation primary src/claim_table/sentinel.rs \
    's/Some(role) if role == "master" =>/Some(_) =>/' \
    "an_error_of_sentinel_is_one_line"
mutation each_moved src/claim_table/connection.rs \
    's/find(|error| error.is_cluster_error())/find(|_| false)/' \
    "a_scan_goes_on_when_a_cluster_moves_the_groups_keys"
mutation order src/masscan/binary.rs \
    's/version.starts_with(SHARD_SERIES) && //' \
    "a_masscan_with_another_probe_order_gets_no_shards_until_it_is_replaced"
mutation trust src/scand/claims/held_claims.rs \
    "s/^        now < \*lock(&self.trusted_until)/        now < *lock(\&self.trusted_until) || true/" \
    "a_redis_outage_longer_than_a_lease_suspends_the_scan"
mutation lost src/model/lineage.rs \
    "s/self.attempt.saturating_sub(self.lost)/self.attempt/" \
    "a_failure_after_a_lost_server_counts_as_the_first"
mutation acknowledged src/scand/scan/publish.rs \
    "s/^    while let Err(error) = producer.send/    if let Err(error) = producer.send/" \
    "a_full_buffer_suspends_the_scan_and_loses_nothing"
mutation log src/scand/ingest/records.rs \
    "s/before.is_some_and(|before| Some(fingerprint_of(before)) != cursor.last)/before.is_some_and(|_| false)/" \
    "a_recreated_topic_is_reported_and_read_from_its_beginning"

mutation by_default src/scand/claims/scope.rs \
    "s/^            .excluding_by_default(DefaultExclusions::new(peers, entries))/            .excluding_by_default(DefaultExclusions::default())/" \
    "special_networks_are_not_scanned_and_a_server_without_allow_warns kafka_and_redis_are_not_scanned_unless_allow_names_them"
mutation peers src/scand/daemon.rs \
    "s/^        Some(found) => scope.exclude_peers(found),/        Some(_) => {}/" \
    "kafka_and_redis_are_not_scanned_unless_allow_names_them"
mutation run_time src/claim_table/scripts/release.lua \
    "/^add_run_time(id)/d" \
    "the_time_that_a_task_has_run_adds_up the_time_of_a_task_counts_on_all_servers_together"
mutation out_of_time src/scand/scan/end_of_claim.rs \
    "s/|| matches!(outcome, Outcome::Failed(FailureReason::OutOfTime, _))//" \
    "a_task_that_runs_for_too_long_fails_and_keeps_its_findings"
mutation bounds src/scand/claims/dispatch.rs \
    "s/= bounds.lower(&mut claimed.task)/= bounds.lower(\&mut claimed.task.clone())/" \
    "wait_attempts_and_priority_of_a_record_are_lowered"

mutation answered src/model/checkpoint.rs \
    "s/&& now.duration_since(sample.at) >= self.settle/\&\& now >= sample.at/" \
    "unit:an_index_is_certain_once_answered_and_acknowledged unit:a_checkpoint_is_never_ahead_of_what_was_sent_before_the_wait"
mutation certain src/model/checkpoint.rs \
    "s/&& printed <= acknowledged/\&\& printed.min(acknowledged) <= acknowledged/" \
    "unit:an_index_is_certain_once_answered_and_acknowledged"
mutation standstill src/model/checkpoint.rs \
    "s/^        self.sent.clear();//" \
    "unit:what_was_sent_before_a_standstill_never_becomes_certain"
mutation probe_order src/model/probe_order.rs \
    "s/if made_by.addresses != self.name.addresses/if false/" \
    "a_checkpoint_of_another_probe_order_is_not_used"
mutation version src/model/probe_order.rs \
    "s/if made_by.masscan != self.name.masscan/if false/" \
    "unit:a_checkpoint_of_another_probe_order_is_not_used"
mutation moved src/scand/finalize/commit.rs \
    "s/|| positions\[partition\].moved(in_kafka).is_none()/|| true/" \
    "a_group_that_is_set_back_reads_again_and_scans_nothing_twice"
mutation blame src/scand/scan/end_of_claim.rs \
    "s/why != GivenBackAfter::Failure/why == GivenBackAfter::Stop/" \
    "a_server_with_a_full_temporary_folder_costs_no_attempts"
mutation reach src/scand/claims/dispatch.rs \
    "s/if self.reach.last().refusal(&wanted).is_some()/if false/" \
    "a_task_runs_on_a_server_that_reaches_its_targets"
mutation room src/masscan/output.rs \
    "s/ PIPE_BYTES: usize = .*/ PIPE_BYTES: usize = 64 * 1024;/" \
    "unit:its_output_holds_thousands_of_findings_while_nothing_is_read"
mutation blocks src/masscan/output.rs \
    "s/ \&\& loads_library(\&program, \&variables)//" \
    "a_finding_printed_just_before_a_kill_is_not_lost"
mutation overrun src/masscan/overrun.rs \
    "s/^        was_full \&\& /        false \&\& was_full \&\& /" \
    "unit:answers_may_be_lost_only_if_the_output_was_full_for_longer_than_the_ring_lasts after_an_overrun_the_probes_are_sent_again"

mutation store_lease src/store/writer.rs \
    "s/diesel::update(store_lease::table.filter(store_lease::holder.eq(holder)))/diesel::update(store_lease::table)/" \
    "unit:a_writer_that_had_lost_the_lease_does_not_go_on_from_old_positions"
mutation store_offsets src/store/connection.rs \
    's/let end = if result.is_ok() .*/let end = "COMMIT";/' \
    "unit:a_failed_batch_moves_no_position"
mutation store_results_end src/scanpush/store/merge.rs \
    "s/^        if !results_end.is_empty() \&\& .*/        if false {/" \
    "unit:a_task_is_judged_between_its_findings_and_later_ones unit:an_end_waits_for_its_findings_and_holds_later_ones_back"
mutation store_began src/model/service.rs \
    "s/let was_found = self.last_seen >= scan.begun/let was_found = false/" \
    "unit:a_service_closes_after_n_scans_in_a_row_that_missed_it"
mutation store_exclusions src/model/coverage.rs \
    "s/in \[&self.exclude, &self.server_exclude\]/in [\&self.exclude]/" \
    "a_store_closes_only_what_completed_scans_covered unit:exclusions_of_task_and_server_are_not_covered"

die() {
    printf 'mutations.sh: %s\n' "$*" >&2
    exit 1
}

# New time stamps let cargo notice restored files.
copy() {
    mkdir -p "$COPY"
    git ls-files -z | tar --null --files-from=- --create --file=- | tar --extract --touch --directory="$COPY" --file=-
}

build() {
    (cd "$COPY" && cargo build -q --bins --examples --tests) >"$COPY/../build.log" 2>&1 || {
        tail -n 20 "$COPY/../build.log" >&2
        die "$1: the copy does not build"
    }
}

# Whether the test passes. Fails if it did not run.
passes() {
    local log=$COPY/../test.log name=${1#unit:} which=(--test fleet)
    [[ $name == "$1" ]] || which=(--lib)
    (cd "$COPY" && cargo test "${which[@]}" -- "$name") >"$log" 2>&1 || true
    grep -Eq "^test (.*::)?$name +\.\.\. (ok|FAILED)" "$log" || die "$1 did not run: $(tail -n 3 "$log")"
    grep -Eq "^test (.*::)?$name +\.\.\. ok" "$log"
}

# Whether the test exists: `fn TEST` next to the code, or "TEST" in a list of fleet tests.
is_there() {
    case $1 in
    unit:*) grep -Eqr "fn ${1#unit:}\(" src ;;
    *) grep -Eqr "\"$1\"" tests/fleet ;;
    esac
}

check() {
    local name test changed bad=0
    for name in "${!FILES[@]}"; do
        if ! changed=$(sed "${EDITS[$name]}" "${FILES[$name]}") || [[ $changed == "$(<"${FILES[$name]}")" ]]; then
            printf 'mutations.sh: %s: sed finds nothing to change in %s\n' "$name" "${FILES[$name]}" >&2
            bad=1
        fi
        for test in ${TESTS[$name]}; do
            is_there "$test" || { printf 'mutations.sh: %s: there is no test %s\n' "$name" "$test" >&2; bad=1; }
        done
    done
    return "$bad"
}

main() {
    local name test names=("$@") bad=0
    [[ ${#names[@]} -gt 0 ]] || mapfile -t names < <(printf '%s\n' "${!FILES[@]}" | sort)
    for name in "${names[@]}"; do
        [[ -n ${FILES[$name]:-} ]] || { usage >&2; exit 2; }
    done
    check || exit 1
    tests/support/setup.sh parsers
    copy
    build "without a mutation"
    for name in "${names[@]}"; do
        for test in ${TESTS[$name]}; do
            passes "$test" || die "$test fails without any mutation"
        done
    done
    for name in "${names[@]}"; do
        copy
        sed -i "${EDITS[$name]}" "$COPY/${FILES[$name]}"
        build "$name"
        for test in ${TESTS[$name]}; do
            if passes "$test"; then
                printf '%-14s %s: PASSES without the safeguard\n' "$name" "$test"
                bad=1
            else
                printf '%-14s %s: fails as expected\n' "$name" "$test"
            fi
        done
    done
    return "$bad"
}

case "${1:-}" in
-h | --help) usage ;;
check) check ;;
*) main "$@" ;;
esac
