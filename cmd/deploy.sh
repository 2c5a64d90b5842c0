# This runs on a host that is deployed to: gopm sends it to `sh -s`, behind the
# variables d_… and before a call of main. It is for every POSIX shell of a Linux.
#
# Below $d_path: repo (bare, fetched), releases/N (a worktree of it each), shared (the
# app's own), current (a link to the release that runs), lock, releases.log.
#
# What gopm wants to know is told in lines that begin with $d_mark; all other lines are
# for people.

d_tab=$(printf '\t')
d_repodir=$d_path/repo
d_lock=$d_path/lock

tell() { printf '%s %s\n' "$d_mark" "$*"; }
die() { tell error "$*"; exit 1; }
refuse() { if mine; then unlock; fi; die "$*"; }
g() { git --git-dir="$d_repodir" "$@"; }

# hook runs a command of the file, by the user's own shell as pm2 does.
hook() { # NAME COMMAND FOLDER
	[ -n "$2" ] || return 0
	printf '%s\n' "$1: $2"
	( cd "$3" && exec "${SHELL:-/bin/sh}" -c "$2" )
}

# --- the lock: a folder, because mkdir is one step that only one can do -------------

mine() { [ "$(cat "$d_lock/token" 2>/dev/null)" = "$d_token" ]; }

take() {
	mine && return
	if ! mkdir "$d_lock" 2>/dev/null; then
		[ -d "$d_lock" ] || die "cannot write in $d_path as $(id -un)"
		d_since=$(cat "$d_lock/since" 2>/dev/null) || d_since=$(date +%s)
		tell locked "$(($(date +%s) - d_since)) $(cat "$d_lock/who" 2>/dev/null)"
		exit 1
	fi
	date +%s >"$d_lock/since"
	printf '%s\n' "$d_who" >"$d_lock/who"
	printf '%s\n' "$d_token" >"$d_lock/token" || die "cannot write in $d_lock: is the disk full?"
}

unlock() { rm -rf "$d_lock"; }

# begin writes down which processes are at work, for gopm to end them when it is
# interrupted. sshd gives every command a session of its own; else nothing is noted.
begin() {
	set -- $(cat "/proc/$$/stat")
	[ "$5" = "$6" ] || return 0
	set -- "$5" $(cat "/proc/$5/stat" 2>/dev/null)
	printf '%s %s\n' "$1" "${23-}" >"$d_lock/group"
}

rest() { rm -f "$d_lock/group"; }

# end_group ends what an earlier call has left at work. The number of a group is not
# used again while it has members; a leader of another age is somebody else.
end_group() {
	[ -f "$d_lock/group" ] || return 0
	read -r d_group d_age <"$d_lock/group"
	if [ -d "/proc/$d_group" ]; then
		set -- $(cat "/proc/$d_group/stat" 2>/dev/null)
		[ "${22-}" = "$d_age" ] || return 0
	fi
	kill -s TERM -- "-$d_group" 2>/dev/null || return 0
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		kill -s 0 -- "-$d_group" 2>/dev/null || return 0
		sleep 0.25
	done
	kill -s KILL -- "-$d_group" 2>/dev/null
}

# --- releases -----------------------------------------------------------------------

# numbers are the releases that are there, the newest first.
numbers() {
	for d_dir in "$d_path"/releases/*/; do
		d_n=${d_dir%/}
		d_n=${d_n##*/}
		case $d_n in *[!0-9]*) ;; *) printf '%s\n' "$d_n" ;; esac
	done | sort -rn
}

# was_current says whether a release has ever been it, with success.
was_current() { grep -q "^[0-9]*$d_tab$1$d_tab" "$d_path/releases.log" 2>/dev/null; }

# before are the releases that a revert may choose, the newest first.
before() {
	d_now=$(current_number)
	numbers | while read -r d_one; do
		if [ -n "$d_now" ] && [ "$d_one" -ge "$d_now" ]; then continue; fi
		if was_current "$d_one"; then printf '%s\n' "$d_one"; fi
	done
}

# current is what the link says, such as releases/3; pm2 has left "…/source" there.
current() { readlink "$d_path/current"; }

current_number() {
	case $(current) in
	releases/*) d_n=$(current); printf '%s\n' "${d_n#releases/}" ;;
	esac
}

# point makes the link another one in one step: there is no moment without it.
point() {
	rm -f "$d_path/.current"
	ln -s "$1" "$d_path/.current" && mv -T "$d_path/.current" "$d_path/current"
}

drop() {
	[ "$(current)" != "releases/$1" ] || return 0
	rm -rf "$d_path/releases/$1"
	g worktree prune
}

# give_up undoes what was prepared; the release that is current stays it.
give_up() {
	if [ -f "$d_lock/made" ]; then drop "$(cat "$d_lock/made")"; fi
	unlock
	die "$*"
}

commit_of() { git -C "$d_path/releases/$1" rev-parse HEAD 2>/dev/null; }

# row tells of one release: number, commit, since when it is current or was last (0:
# never), the ref, whether it is current, and what the commit says.
row() {
	d_entry=$(grep "^[0-9]*$d_tab$1$d_tab" "$d_path/releases.log" 2>/dev/null | tail -n 1)
	d_time=${d_entry%%"$d_tab"*}
	d_is=
	[ "$(current_number)" != "$1" ] || d_is=current
	tell row "$1$d_tab$(commit_of "$1")$d_tab${d_time:-0}$d_tab$(printf '%s' "$d_entry" | cut -f 4)$d_tab$d_is$d_tab$(git -C "$d_path/releases/$1" log -1 --format=%s 2>/dev/null)"
}

describe() { # NUMBER
	printf '%s\n' "release $1 is $(git -C "$d_path/releases/$1" log -1 --format='%h %s')"
	row "$1"
}

ready() {
	[ -d "$d_repodir" ] || refuse "$d_path is not set up: do that once with setup"
	linked
}

linked() {
	[ -L "$d_path/current" ] || [ ! -e "$d_path/current" ] || refuse "$d_path/current is no link: move it away, gopm makes it a link to the release that runs"
}

fetch() {
	d_how=
	if [ "$d_fast" = yes ]; then
		d_how=--depth=5
	elif [ "$(g rev-parse --is-shallow-repository)" = true ]; then
		d_how=--unshallow
	fi
	g remote set-url origin "$d_repo" &&
		g fetch --quiet --prune --force --tags $d_how origin '+refs/heads/*:refs/remotes/origin/*' || return
	g remote set-head origin --auto >/dev/null 2>&1
	return 0
}

# resolve finds the commit of the ref: a branch, a tag, pm2's origin/branch, a commit.
resolve() {
	for d_name in "refs/remotes/origin/$d_ref" "refs/tags/$d_ref" "refs/remotes/$d_ref" "$d_ref"; do
		g rev-parse --quiet --verify "$d_name^{commit}" && return
	done
	g fetch --quiet --depth=1 origin "$d_ref" 2>/dev/null && g rev-parse --quiet --verify 'FETCH_HEAD^{commit}'
}

# next is a number that no release had yet.
next() {
	d_last=$({ numbers; cat "$d_path/releases/.last" 2>/dev/null; } | sort -rn | head -n 1)
	echo $((${d_last:-0} + 1)) >"$d_path/releases/.last" && cat "$d_path/releases/.last"
}

prune() {
	numbers | tail -n "+$((d_keep + 1))" | while read -r d_old; do drop "$d_old"; done
}

note() { # NUMBER
	printf '%s\t%s\t%s\t%s\t%s\n' "$(date +%s)" "$1" "$(commit_of "$1")" "$(cat "$d_lock/ref")" "$d_who" >>"$d_path/releases.log"
}

# back makes the release current again that was it before, and starts it anew.
back() { # WHY
	d_new=$(cat "$d_lock/release")
	d_before=$(cat "$d_lock/before")
	if [ -z "$d_before" ]; then
		unlock
		die "$1; it is the first release here, so there is none to go back to: current stays releases/$d_new"
	fi
	point "$d_before" || { unlock; die "$1; and current cannot be made $d_before again: look at $d_path"; }
	printf '%s\n' "current is $d_before again"
	if hook post-deploy "$d_post_deploy" "$d_path/current"; then
		if [ -f "$d_lock/made" ]; then drop "$d_new"; fi
		unlock
		die "$1; current is $d_before again"
	fi
	unlock
	die "$1; current is $d_before again, but post-deploy has failed there, too: look at the host"
}

# --- what gopm calls ----------------------------------------------------------------

setup() {
	command -v git >/dev/null || die "there is no git on the PATH ($PATH)"
	hook pre-setup "$d_pre_setup" "$HOME" || die "pre-setup ended with exit code $?: nothing was set up"
	mkdir -p "$d_path/releases" "$d_path/shared" ||
		die "cannot make $d_path as $(id -un): make it and give it to $(id -un), or choose another path"
	linked
	take
	begin
	if [ ! -d "$d_repodir" ]; then
		rm -rf "$d_repodir.new"
		git init --quiet --bare "$d_repodir.new" &&
			git --git-dir="$d_repodir.new" remote add origin "$d_repo" &&
			mv -T "$d_repodir.new" "$d_repodir" || give_up "cannot make $d_repodir"
	fi
	printf '%s\n' "fetching $d_repo"
	fetch || give_up "cannot fetch $d_repo: see above what git says"
	hook post-setup "$d_post_setup" "$d_path" || give_up "post-setup ended with exit code $?"
	case $(current) in
	'' | releases/*) ;;
	*) printf '%s\n' "current is $(current), as another tool has made it: it stays until the first update" ;;
	esac
	unlock
	tell done
}

lock() {
	ready
	take
	tell done
}

prepare() {
	ready
	take
	begin
	[ -z "$d_need" ] || command -v "$d_need" >/dev/null ||
		give_up "there is no $d_need on the PATH ($PATH): install it, or set PATH in env, or say in post-deploy what is to be done"
	printf '%s\n' "fetching $d_repo"
	fetch || give_up "cannot fetch $d_repo: see above what git says"
	# What a deployment that was killed has left is nobody's, as the lock is ours.
	numbers | while read -r d_one; do was_current "$d_one" || drop "$d_one"; done
	d_commit=$(resolve) || give_up "there is no branch, tag or commit $d_ref in $d_repo"
	d_n=$(next) || give_up "cannot write in $d_path/releases"
	printf '%s\n' "$d_n" >"$d_lock/release"
	printf '%s\n' "$d_n" >"$d_lock/made"
	case $d_ref in HEAD) d_ref=$(g symbolic-ref --short refs/remotes/origin/HEAD) && d_ref=${d_ref#origin/} ;; esac
	printf '%s\n' "$d_ref" >"$d_lock/ref"
	d_dir=$d_path/releases/$d_n
	g worktree prune
	g worktree add --quiet --force --detach "$d_dir" "$d_commit" || give_up "cannot check out $d_commit"
	if [ -f "$d_dir/.gitmodules" ]; then
		git -C "$d_dir" submodule --quiet update --init --recursive || give_up "cannot fetch the submodules"
	fi
	describe "$d_n"
	hook pre-deploy "$d_pre_deploy" "$d_dir" || give_up "pre-deploy ended with exit code $?"
	rest
	tell done
}

# aim chooses the release that is $d_count before the current one.
aim() {
	ready
	take
	d_n=$(before | sed -n "${d_count}p")
	[ -n "$d_n" ] || give_up "there is no release $d_count before the current one: see list"
	printf '%s\n' "$d_n" >"$d_lock/release"
	grep "^[0-9]*$d_tab$d_n$d_tab" "$d_path/releases.log" 2>/dev/null | tail -n 1 | cut -f 4 >"$d_lock/ref"
	describe "$d_n"
	tell done
}

activate() {
	mine || die "the lock was taken away meanwhile: nothing was switched"
	begin
	d_n=$(cat "$d_lock/release")
	current >"$d_lock/before"
	point "releases/$d_n" || give_up "cannot make the link $d_path/current"
	printf '%s\n' "current is releases/$d_n"
	hook post-deploy "$d_post_deploy" "$d_path/current" || back "post-deploy ended with exit code $?"
	note "$d_n"
	prune
	unlock
	tell done
}

# abandon leaves the host as it was before: called when gopm was interrupted, or when
# another host has failed.
abandon() {
	mine || { tell done; return; }
	end_group
	begin
	if [ -f "$d_lock/before" ] && [ "$(current)" = "releases/$(cat "$d_lock/release")" ]; then
		back "given up while post-deploy was at work"
	fi
	if [ -f "$d_lock/made" ]; then drop "$(cat "$d_lock/made")"; fi
	unlock
	tell done
}

list() {
	ready
	numbers | while read -r d_one; do row "$d_one"; done
	tell done
}

curr() {
	ready
	[ -n "$(current_number)" ] || die "no release is current"
	row "$(current_number)"
	tell done
}

prev() {
	ready
	d_n=$(before | head -n 1)
	[ -n "$d_n" ] || die "there is no release before the current one"
	row "$d_n"
	tell done
}

execute() {
	ready
	cd "$d_path/current" || die "no release is current: gopm deploy first"
	"${SHELL:-/bin/sh}" -c "$d_command"
	tell code "$?"
	tell done
}

main() {
	tell begun
	[ -n "${HOME-}" ] || die "HOME is not set"
	"$1"
	exit 0
}
