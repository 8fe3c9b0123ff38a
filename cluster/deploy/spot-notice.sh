#!/usr/bin/env bash
# Waits on a spot instance of AWS for the notice that it will be taken away, two minutes before, and
# tells Ray, whose workers then finish the pairs in work and hand their shards back.
#
#   spot-notice.sh ADDRESS_OF_THE_HEAD
set -euo pipefail

address=$1
metadata=${METADATA_URL:-http://169.254.169.254}
wait_s=${POLL_SECONDS:-5}

noticed() {
    local token
    token=$(curl -sf -m 2 -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 60" \
        "$metadata/latest/api/token") &&
        curl -sf -m 2 -o /dev/null -H "X-aws-ec2-metadata-token: $token" \
            "$metadata/latest/meta-data/spot/instance-action"
}

drain() {
    local raylet node
    # The raylet is the process of this node; its id is one of its arguments.
    raylet=$(pgrep -nx raylet) || return
    node=$(tr '\0' '\n' <"/proc/$raylet/cmdline" | sed -n 's/^--node_id=//p') || return
    ray drain-node --address "$address" --node-id "$node" \
        --reason DRAIN_NODE_REASON_PREEMPTION \
        --reason-message "the spot instance is taken away" --deadline-remaining-seconds 110
}

until noticed; do sleep "$wait_s"; done
until drain; do sleep 1; done
