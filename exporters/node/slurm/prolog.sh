#!/bin/sh
# meterbridge: remembers which GPUs a Slurm job was given on this machine. For slurm.conf:
#
#   Prolog=/etc/slurm/prolog.d/50-meterbridge.sh     (this file)
#   Epilog=/etc/slurm/epilog.d/50-meterbridge.sh     (epilog.sh beside it)
#
# slurmd runs it as root when the job arrives. It writes one small file into a folder that `meterbridge node` reads, by
# rename, so that the agent never sees half of it. Nothing that goes wrong here may harm a job: it always exits 0.

spool=${METERBRIDGE_SPOOL:-/run/meterbridge/jobs}

# Values go through no shell and no other program: each is cut at its first character that has no business in it.
cut() { kept=${1%%[!A-Za-z0-9._:,@+/-]*}; }

start() {
    case ${SLURM_JOB_ID:-} in '' | *[!0-9]*) return ;; esac
    # Indices as Slurm counts them, else what the job will see (UUIDs of MIG devices).
    cut "${SLURM_JOB_GPUS:-${GPU_DEVICE_ORDINAL:-${CUDA_VISIBLE_DEVICES:-}}}"
    gpus=$kept
    case $gpus in '' | NoDevFiles) return ;; esac
    cut "${SLURMD_NODENAME:-}"
    case $kept in */*) return ;; esac
    name=$SLURM_JOB_ID@$kept

    umask 022
    [ -d "$spool" ] || mkdir -p "$spool" || return
    boot=
    read -r boot </proc/sys/kernel/random/boot_id
    {
        printf 'job=%s\ngpus=%s\nboot=%s\n' "$SLURM_JOB_ID" "$gpus" "$boot"
        cut "${SLURM_CLUSTER_NAME:-}" && printf 'cluster=%s\n' "$kept"
        cut "${SLURMD_NODENAME:-}" && printf 'node=%s\n' "$kept"
        cut "${SLURM_JOB_USER:-}" && printf 'user=%s\n' "$kept"
        cut "${SLURM_JOB_SLUID:-}" && printf 'sluid=%s\n' "$kept"
        cut "${SLURM_JOB_RESTART_COUNT:-0}" && printf 'restart=%s\n' "$kept"
        cut "${SLURM_JOB_START_TIME:-$(date +%s)}" && printf 'start=%s\nend=\n' "$kept"
    } >"$spool/.$name.$$" && mv -f "$spool/.$name.$$" "$spool/$name"
}

start 2>/dev/null
exit 0
