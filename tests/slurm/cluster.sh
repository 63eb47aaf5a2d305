#!/usr/bin/env bash
# A SLURM cluster of one node, all of it in one folder, without systemd and without slurmdbd.
#
#   tests/slurm/cluster.sh start DIR    as root; prints nothing
#   tests/slurm/cluster.sh stop DIR     ends its jobs and daemons
#
# Needs slurm-wlm and munge: apt-get install --no-install-recommends slurm-wlm munge
# DIR must have a short path (a socket lies in it) that the user `munge` can reach. Outside DIR there is one link,
# /etc/slurm/slurm.conf, while the cluster runs: Snakemake takes SLURM_CONF away from its jobs, so that they look
# there. A machine that has such a file has a SLURM already, and is left alone.
set -euo pipefail

act=$1
link=/etc/slurm/slurm.conf
dir=$(readlink -f "$2")
export PATH=$PATH:/usr/sbin:/sbin SLURM_CONF=$dir/slurm.conf

start() {
  if [ -e "$link" ]; then
    echo "$link is there: this machine has a SLURM already" >&2
    return 1
  fi
  mkdir -p "$dir"/{munge,state,spool,log}
  head -c 1024 /dev/urandom > "$dir/munge/key"
  chown -R munge:munge "$dir/munge"
  chmod 0400 "$dir/munge/key"
  chmod 0755 "$dir" "$dir/munge"
  local port
  port=$((20000 + RANDOM % 20000))
  cat > "$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/linux
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/log/jobs.log
AccountingStorageType=accounting_storage/none
MinJobAge=3600
MailProg=/bin/true
NodeName=localhost CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo) State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  mkdir -p "$(dirname "$link")"
  ln -sfn "$SLURM_CONF" "$link"
  runuser -u munge -- "$(command -v munged)" --force --socket="$dir/munge/socket" --key-file="$dir/munge/key" \
    --pid-file="$dir/munge/pid" --log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
  slurmctld -f "$SLURM_CONF"
  slurmd -f "$SLURM_CONF" -N localhost
  for _ in $(seq 60); do
    if sinfo --noheader --format=%T 2>/dev/null | grep -q '^\(idle\|mixed\|allocated\)$'; then return 0; fi
    sleep 0.5
  done
  echo "the cluster did not come up; its logs:" >&2
  tail -n 20 "$dir"/log/*.log >&2
  stop
  return 1
}

stop() {
  scancel --state=PENDING --state=RUNNING --user=root 2>/dev/null || true
  for _ in $(seq 20); do
    if [ -z "$(squeue --noheader 2>/dev/null)" ]; then break; fi
    sleep 0.5
  done
  for file in slurmd.pid slurmctld.pid munge/pid; do
    if [ -s "$dir/$file" ]; then
      pid=$(cat "$dir/$file")
      kill "$pid" 2>/dev/null || true
      for _ in $(seq 40); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.25
      done
      kill -9 "$pid" 2>/dev/null || true
    fi
  done
  if [ "$(readlink "$link" || true)" = "$SLURM_CONF" ]; then rm "$link"; fi
}

"$act"
