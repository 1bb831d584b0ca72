#!/bin/sh
# meterbridge: the job's GPUs are free again. See prolog.sh beside it. It always exits 0.

spool=${METERBRIDGE_SPOOL:-/run/meterbridge/jobs}

finish() {
    case ${SLURM_JOB_ID:-} in '' | *[!0-9]*) return ;; esac
    node=${SLURMD_NODENAME:-}
    node=${node%%[!A-Za-z0-9._:,@+/-]*}
    case $node in */*) return ;; esac
    name=$SLURM_JOB_ID@$node
    [ -f "$spool/$name" ] || return

    end=$(date +%s)
    while IFS= read -r line; do
        case $line in end=*) line=end=$end ;; esac
        printf '%s\n' "$line"
    done <"$spool/$name" >"$spool/.$name.$$" && mv -f "$spool/.$name.$$" "$spool/$name.ended"
    # Without room for the record of its end, the job has ended all the same.
    rm -f "$spool/$name"

    # Ended jobs stay an hour, for people; so does what a crash left half-written.
    find "$spool" -type f '(' -name '*.ended' -o -name '.*' ')' -mmin +60 -exec rm -f '{}' +
}

finish 2>/dev/null
exit 0
