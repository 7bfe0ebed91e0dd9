#!/bin/sh
# compare.sh SETTINGS DATA OUT [flags of nat eval]
#
# Trains on DATA with every line of the file SETTINGS, "name|flags of nat train", and every seed of $SEEDS (1 2 3),
# evaluates each run, on $EVAL where that is given, and prints a table of means with the lowest and highest seed.
# Runs and tables that are in OUT already are not made again, so that it goes on where it was stopped. Further
# flags for all runs come from $TRAIN; NAT is the program (nat). With SEEDS= it prints the table of what is there.
set -eu
settings=$1 data=$2 out=$3
shift 3
nat=${NAT:-nat}
mkdir -p "$out"
grep '|' "$settings" | while IFS='|' read -r name flags; do
	for seed in ${SEEDS-1 2 3}; do
		run=$out/$name-$seed
		[ -e "$run.txt" ] && continue
		# Flags are words of their own.
		# shellcheck disable=SC2086
		[ -e "$run.done" ] || "$nat" train "$data" ${TRAIN:-} $flags --seed "$seed" --out "$run" --overwrite -q >"$run.log" </dev/null
		touch "$run.done"
		# shellcheck disable=SC2086
		"$nat" eval "$run" ${EVAL:-} --baselines=false "$@" -q >"$run.tmp" </dev/null
		mv "$run.tmp" "$run.txt"
	done
done
grep '|' "$settings" | while IFS='|' read -r name flags; do
	cat "$out/$name"-[0-9]*.txt | awk -v name="$name" -v flags="$flags" '
		$1 == "name" { for (i = 4; i <= NF; i++) probe[i] = $i }
		$1 == "run" {
			for (i = 4; i <= NF; i++) {
				key = $2 " " probe[i]
				if (!(key in n)) { order[++keys] = key; low[key] = high[key] = $i }
				n[key]++; sum[key] += $i
				if ($i < low[key]) low[key] = $i
				if ($i > high[key]) high[key] = $i
			}
		}
		END {
			row = "| " name " | `" flags "` |"
			for (k = 1; k <= keys; k++) {
				key = order[k]
				cell = sprintf(" %s %.3f (%.3f-%.3f) |", key, sum[key] / n[key], low[key], high[key])
				gsub(/0\./, ".", cell)
				row = row cell
			}
			print row
		}'
done
