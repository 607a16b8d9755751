# shellcheck shell=bash disable=SC2154  # what is not set here is in deploy/on-host.sh
# Sourced by deploy/on-host.sh: from one version to another, and back.
#
# Until an update has ended well or was rolled back, the folder .update has what leads back, also after a power cut:
#   commit      what is deployed           former.env  its settings        workers  how many ran
#   next.env    the settings to come       rolling     it may be stopped, or the new version run
#   copy        where the queue is kept as it was; format: what its file had, where it is in one (not on NATS)

# The number of the format that the queue's file has; nothing where it can't be read.
format() {
  docker compose run --rm -T --no-deps --entrypoint python master -c \
    'import sqlite3; print(sqlite3.connect("file:/var/lib/taskyard/taskyard.db?mode=ro", uri=True).execute("PRAGMA user_version").fetchone()[0])' \
    </dev/null 2>>"$log" 9>&- || true
}

# A backup of the queue, as `make backup` writes it, while no master runs; no earlier one is overwritten.
keep_queue() { # VERSION
  local copy
  copy=$PWD/backups/before-$1-$(date -u +%Y%m%d-%H%M%S).db.gz
  install -d -m 0700 backups
  if ! { docker compose run --rm -T --quiet-pull master python -m master backup </dev/null 2>>"$log" 9>&- >"$copy.part" && gzip --test "$copy.part"; }; then
    rm -f "$copy.part"
    return 1
  fi
  mv "$copy.part" "$copy"
  if ! on_nats; then
    format >.update/format
    [[ -s .update/format ]] || return 1
  fi
  sync
  echo "$copy" >.update/copy
}

# FILE: such a backup; as `make restore` does it, which checks it first, and keeps the present queue on the volume. Prints where.
put_back() {
  local said
  said=$(docker compose run --rm -T --quiet-pull master python -m master restore <"$1" 2>>"$log" 9>&-) || return 1
  echo "$said" >>"$log"
  [[ $said != *" kept as "* ]] || echo "${said##* kept as }"
}

# What leads back, all of it or nothing.
remember() { # COMMIT
  rm -rf .update.new
  mkdir -m 0700 .update.new
  echo "$1" >.update.new/commit
  [[ -e .env ]] || install -m 0600 /dev/null .env
  cp -p .env .update.new/former.env
  WORKERS="" workers_now >.update.new/workers
  sync
  mv .update.new .update
}

# To the sources and settings that are deployed, and to their queue, if the other version has changed its format. What ran is stopped.
go_back() {
  local before now kept copy
  what_of_queue="the queue goes on with all that it has done meanwhile"
  if [[ -e .update/rolling ]]; then quietly docker compose stop || true; fi
  rm -f .git/index.lock
  git checkout --quiet --force --detach "$(<.update/commit)"
  cp -p .update/former.env .env.new
  mv .env.new .env
  if [[ -e .update/copy && -e .update/format ]]; then
    copy=$(<.update/copy) before=$(<.update/format) now=$(format)
    if [[ $now != "$before" ]]; then
      quietly docker compose stop || true
      kept=$(put_back "$copy") || fail "the queue can't be put back: $log says why. $copy has it as it was; on the volume it is as the other version left it"
      what_of_queue="the other version had changed the queue's format ($before -> ${now:-unreadable}): it is again as it was before the update; as it was left, it is on the master's volume: ${kept:-nothing was there}"
    fi
  fi
}

# An update that was cut off, by a loss of power or of patience, is undone before anything else is done.
undo_interrupted() {
  local was_rolling="" workers
  [[ -d .update ]] || return 0
  if [[ $(<.update/commit) != "$(git rev-parse refs/taskyard/deployed)" ]]; then
    rm -rf .update  # it had come to its end
    return
  fi
  say "an update was interrupted here: going back to $(version_of refs/taskyard/deployed)"
  [[ ! -e .update/rolling ]] || was_rolling=yes
  workers=$(<.update/workers)
  go_back
  rm -rf .update
  [[ -n $was_rolling ]] || return 0
  say "$what_of_queue"
  start "$workers" || { tell_unwell; say "$(version_of refs/taskyard/deployed) does not get well: the lines above, and $log, say why"; }
}

roll_back() { # VERSION
  local former_version copy workers
  former_version=$(version_of "$(<.update/commit)") copy=$(<.update/copy) workers=$(<.update/workers)
  tell_unwell
  say "$1 did not get well: rolling back to $former_version ..."
  go_back
  rm -rf .update
  start "$workers" || { tell_unwell; fail "$former_version does not get well either: the lines above, and $log, say why; the queue as it was (make restore FROM=...): $copy"; }
  fail "rolled back: $former_version runs again; $what_of_queue. Why $1 was not well: the lines above, and $log"
}

update() { # COMMIT
  local former version former_version copy workers
  former=$(git rev-parse refs/taskyard/deployed)
  former_version=$(version_of "$former") version=$(version_of "$1")
  say "updating $former_version to $version"
  [[ -z $(git status --porcelain --untracked-files=no) ]] || fail "files of $PWD were changed by hand: commit what is to stay, and 'git checkout .' there" 73
  remember "$former"
  git checkout --quiet --detach "$1"
  take_settings
  if ! build "$version"; then
    go_back
    rm -rf .update
    fail "the images $version can't be built; $former_version runs as before, nothing was touched" 65
  fi
  workers=$(workers_now)
  set_setting TASKYARD_VERSION "$version"
  set_setting WORKERS "$workers"
  cp -p .env .update/next.env
  # What is done with the former one is done with its own files.
  git checkout --quiet --detach "$former"
  cp -p .update/former.env .env
  drain
  say "stopping $former_version, keeping a backup of the queue ..."
  touch .update/rolling
  quietly docker compose stop || { tell_log; fail "it could not be stopped: the lines above, and $log, say why"; }
  if ! keep_queue "$version"; then
    start "$(<.update/workers)" || true
    rm -rf .update
    fail "the queue could not be copied into $PWD/backups (is the disk full? $log says why); $former_version runs as before"
  fi
  copy=$(<.update/copy)
  git checkout --quiet --detach "$1"
  mv .update/next.env .env
  start "$workers" || roll_back "$version"
  git update-ref refs/taskyard/deployed "$1"
  rm -rf .update
  forget_versions "$version" "$former_version"
  say "$version runs with $workers workers, in the place of $former_version; the queue as it was before: $copy (make restore FROM=...)"
}

# All but these.
forget_versions() {
  local image
  for image in $(docker image ls --format '{{.Repository}}:{{.Tag}}' | grep -E '^taskyard/(master|worker|dashboard|nats):[0-9a-f]{7,}$'); do
    [[ ${image#*:} == "$1" || ${image#*:} == "$2" ]] || quietly docker image rm "$image" || true
  done
  find backups -name 'before-*.db.gz' -mtime +30 -delete
}
