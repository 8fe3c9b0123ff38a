#!/usr/bin/env bash
# Fuse a collection on a Slurm allocation: one Ray node on each Slurm node, the driver on the first.
#
#   sbatch --nodes=4 cluster/deploy/slurm.sh SOURCE --out OUT [options of `irfuse run`]
#
# Submit it from a shell in which `irfuse` runs, installed on a file system that all nodes share.
# The same line again goes on where the last job stopped. Options given to sbatch win over these:
#SBATCH --job-name=irfuse
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# The batch script runs on the first node. Set HEAD_IP where that node's first address is not the
# one that the others reach it by.
read -r ip _ <<<"${HEAD_IP:-$(hostname -I)}"
port=$((20000 + SLURM_JOB_ID % 5000))
address=$ip:$port
# A token of this job's own keeps other users of the network out of this Ray.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
ray_options=(
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}"
    --disable-usage-stats --block
)

# Only what this script started is ended: Ray through its job steps, never by `ray stop`, which
# would end other people's Ray on a shared node too.
steps=()
driver=
end_steps() {
    for step in "${steps[@]}"; do kill -TERM "$step" 2>/dev/null || true; done
    wait
}
stop_driver() {
    if [[ -n $driver ]]; then kill -TERM "$driver"; else exit 130; fi
}
trap end_steps EXIT
trap stop_driver TERM INT

start_step() {  # start_step NODES SRUN_OPTION RAY_START_OPTION...
    local count=$1 where=$2
    shift 2
    srun --nodes="$count" --ntasks="$count" --ntasks-per-node=1 "$where" \
        --cpus-per-task="$SLURM_CPUS_PER_TASK" ray start "$@" "${ray_options[@]}" &
    steps+=($!)
}

start_step 1 --nodelist="${nodes[0]}" --head --node-ip-address="$ip" --port="$port" \
    --ray-client-server-port=$((port + 5000)) --include-dashboard=false
for _ in {1..60}; do
    if ray health-check --address "$address" &>/dev/null; then break; fi
    if ! kill -0 "${steps[0]}" 2>/dev/null; then break; fi
    sleep 2
done
if ! ray health-check --address "$address" &>/dev/null; then
    echo "Ray did not start at $address on ${nodes[0]}" >&2
    exit 1
fi
if ((${#nodes[@]} > 1)); then
    start_step $((${#nodes[@]} - 1)) --exclude="${nodes[0]}" --address="$address"
fi

irfuse run "$@" --address "$address" &
driver=$!
# A signal ends `wait` early, before the driver is done.
while kill -0 "$driver" 2>/dev/null; do wait "$driver" || true; done
wait "$driver"
