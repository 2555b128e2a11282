# Numbered records in files of 4,096, each a line of 78 bytes: number and SHA-256 of machine, disk and number. Each is on stable
# storage before it counts. services/compute/src/qemu/records.ts has the same constants, and judges the found records.
per_file=4096
record_bytes=78

# Reports every file as found after the boot, without an incomplete record. Prints the newest number.
find_records() {
  newest=0
  for file in "$2"/*; do
    [ -e "$file" ] || continue
    size=$(stat -c %s "$file")
    kept=$((size / record_bytes * record_bytes))
    [ "$kept" -eq "$size" ] || truncate -s "$kept" "$file"
    number=${file##*/}
    say found "$1" "$number" "$kept" "$(sha256sum < "$file" | cut -d ' ' -f 1)"
    last=$((number * per_file + kept / record_bytes))
    [ "$last" -le "$newest" ] || newest=$last
  done
  say verified "$1"
  echo "$newest"
}

# Appends a record and waits until it is on stable storage.
append() {
  hash=$(printf '%s %s %s' "$machine" "$1" "$2" | sha256sum)
  printf '%012d %s\n' "$2" "${hash%% *}" >> "$3" && sync "$3"
}

# Works on a disk until it fails or the guest ends. @param serial, folder where it is mounted
work() {
  records="$2/records/$machine"
  mkdir -p "$records"
  sequence=$(find_records "$1" "$records")
  log "$1 has $sequence records"
  while :; do
    sequence=$((sequence + 1))
    number=$(((sequence - 1) / per_file))
    file=$records/$number
    if [ ! -e "$file" ]; then
      : > "$file"
      rm -f "$records/$((number - 2))"
      sync
    fi
    say begin "$1" "$sequence"
    if ! append "$1" "$sequence" "$file"; then
      say failed "$1" "$sequence"
      return 1
    fi
    say done "$1" "$sequence"
    sleep "$pause"
  done
}
