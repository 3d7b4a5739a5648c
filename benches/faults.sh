#!/usr/bin/env bash
# Asks a model through a proxy that misbehaves, without and with the wrappers of agentkit_core::resilience.
#
# usage: benches/faults.sh PROXY HOST:PORT MODEL [QUESTIONS] [PER_SECOND]
#   PROXY   a fault_proxy.py: `PROXY ADMIN_PORT NAME=PORT:HOST:PORT`; POST /NAME takes {"latency_ms": n}, {"reset": true},
#           {"down": true}, {"blackhole": true}, each with "direction": "up" or "down"; DELETE /NAME ends them
#   MODEL   behind an OpenAI-compatible interface at http://HOST:PORT/v1
# For each fault the network is sound for two seconds and then faulty for half of one, over and over.
set -euo pipefail
proxy=$1 upstream=$2 model=$3 questions=${4:-200} per_second=${5:-10}
cd "$(dirname "$0")/.."
cargo build --quiet --package examples --example dependable_model
program="${CARGO_TARGET_DIR:-target}/debug/examples/dependable_model"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
admin=$(free_port) port=$(free_port)
python3 "$proxy" "$admin" "model=$port:$upstream" >/dev/null &
proxy_pid=$! faults_pid=
trap 'kill "$proxy_pid" $faults_pid 2>/dev/null || true' EXIT
until curl -sf "http://127.0.0.1:$admin/" >/dev/null; do sleep 0.1; done

fault() { curl -s -o /dev/null -X POST -d "$1" "http://127.0.0.1:$admin/model"; }
sound() { curl -s -o /dev/null -X DELETE "http://127.0.0.1:$admin/model"; }
over_and_over() { while :; do sound; sleep 2; fault "$1"; sleep 0.5; done; }

measure() { # NAME [FAULT]
    echo "== $1"
    sound
    [ -z "${2:-}" ] || { over_and_over "$2" & faults_pid=$!; }
    "$program" "http://127.0.0.1:$port/v1" "$model" "$questions" "$per_second"
    [ -z "$faults_pid" ] || { kill "$faults_pid"; wait "$faults_pid" 2>/dev/null || true; faults_pid=; }
}

measure "no fault"
measure "latency of 1,500 ms" '{"latency_ms": 1500, "direction": "down"}'
measure "connections reset" '{"reset": true}'
measure "connections refused" '{"down": true}'
measure "black hole: nothing gets through" '{"blackhole": true}'
measure "half open: requests get through, answers do not" '{"blackhole": true, "direction": "down"}'
