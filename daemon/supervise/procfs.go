package supervise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// procfs reads /proc; tests give it a folder of their own.
type procfs struct{ root string }

// procStat is what we need of /proc/PID/stat.
type procStat struct {
	pid, ppid, group, session int
	state                     byte
	flags                     uint64
	start                     uint64 // clock ticks since boot
	threads                   int
}

// forked says that it runs no program of its own yet: PF_FORKNOEXEC of the kernel.
func (s procStat) forked() bool { return s.flags&0x40 != 0 }

// alive is false for a zombie: it holds nothing any more and only waits to be
// reaped. A zombie with threads has lost its first thread only: it may live for
// long, and while it exits its children haven't fallen to the keeper yet.
func (s procStat) alive() bool {
	return s.pid != 0 && (s.state != 'Z' && s.state != 'X' || s.threads > 1)
}

func (p procfs) path(pid int, rest string) string {
	return p.root + "/" + strconv.Itoa(pid) + "/" + rest
}

// stat fails when there is no such process.
func (p procfs) stat(pid int) (procStat, error) {
	fd, err := unix.Open(p.path(pid, "stat"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return procStat{}, err
	}
	defer unix.Close(fd)
	var buf [512]byte // the fields we need are among the first, whatever the name
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return procStat{}, err
	}
	return parseStat(buf[:n])
}

// parseStat reads "pid (name) state ppid pgrp ... starttime(22) ...", where the
// name may contain anything, parentheses and newlines included.
func parseStat(line []byte) (procStat, error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	bad := errors.New("not the stat of a process")
	if open < 1 || end < open {
		return procStat{}, bad
	}
	fields := bytes.Fields(line[end+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return procStat{}, bad
	}
	pid, err1 := strconv.Atoi(string(line[:open-1]))
	ppid, err2 := strconv.Atoi(string(fields[1]))
	group, err3 := strconv.Atoi(string(fields[2]))
	session, err4 := strconv.Atoi(string(fields[3]))
	flags, err5 := strconv.ParseUint(string(fields[6]), 10, 64)
	threads, err6 := strconv.Atoi(string(fields[17]))
	start, err7 := strconv.ParseUint(string(fields[19]), 10, 64)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		return procStat{}, bad
	}
	return procStat{
		pid: pid, ppid: ppid, group: group, session: session,
		state: fields[0][0], flags: flags, threads: threads, start: start,
	}, nil
}

// children reads the children of pid's first thread, to which orphans fall;
// an error means that this kernel doesn't keep that list (CONFIG_PROC_CHILDREN).
func (p procfs) children(pid int) ([]int, error) {
	// When a child is reaped just after it was listed, the kernel may leave out the
	// next one. Then it isn't in the next list, so two that are equal are complete;
	// and when there is no end to changes, a child is missing in some of them only.
	const most = 10
	path := p.path(pid, "task/"+strconv.Itoa(pid)+"/children")
	var pids []int
	var was []byte
	for n := range most {
		now, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if n > 0 && bytes.Equal(now, was) {
			break
		}
		was = now
		for _, f := range bytes.Fields(now) {
			if n, err := strconv.Atoi(string(f)); err == nil && n > 0 && !slices.Contains(pids, n) {
				pids = append(pids, n)
			}
		}
	}
	return pids, nil
}

// marked says whether a process, seen alive a moment ago, was started with all
// these environment entries. One that is exiting has no environment any more and
// its children may not have fallen to the keeper when we looked at them; it counts
// as marked, so that whoever waits for its end looks again and sees them.
func (p procfs) marked(pid int, entries []string) bool {
	has, known := p.hasMarker(pid, entries)
	return has || !known && !p.hasMemory(pid)
}

// hasMarker is the same without a guess: known is false if the process shows no
// environment.
func (p procfs) hasMarker(pid int, entries []string) (has, known bool) {
	if len(entries) == 0 {
		return false, true
	}
	env, err := os.ReadFile(p.path(pid, "environ"))
	if err != nil || len(env) == 0 {
		env = p.threadsEnviron(pid) // the first thread has ended before the others
	}
	return hasEntries(env, entries), len(env) > 0
}

func (p procfs) threadsEnviron(pid int) []byte {
	names, _ := os.ReadDir(p.path(pid, "task"))
	for _, n := range names {
		if env, _ := os.ReadFile(p.path(pid, "task/"+n.Name()+"/environ")); len(env) > 0 {
			return env
		}
	}
	return nil
}

// hasMemory is false from when a process begins to exit. A program without any
// environment, or with one that we may not read, has memory.
func (p procfs) hasMemory(pid int) bool {
	names, _ := os.ReadDir(p.path(pid, "task"))
	for _, n := range names {
		size, err := os.ReadFile(p.path(pid, "task/"+n.Name()+"/statm"))
		if err == nil && !bytes.HasPrefix(size, []byte("0 ")) {
			return true
		}
	}
	return false
}

// hasEntries says whether env, of NUL-terminated entries, has all of these.
func hasEntries(env []byte, entries []string) bool {
	for _, want := range entries {
		found := false
		for rest := env; len(rest) > 0 && !found; {
			var entry []byte
			entry, rest, _ = bytes.Cut(rest, []byte{0})
			found = string(entry) == want
		}
		if !found {
			return false
		}
	}
	return true
}

// entry is a process in the listing of /proc. The inode number is another one
// when the pid is another process's, so the two together are an identity.
type entry struct {
	pid   int
	inode uint64
}

// list calls f for every process, in the order of pids.
func (p procfs) list(f func(entry)) error {
	fd, err := unix.Open(filepath.Clean(p.root), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			return err
		}
		eachEntry(buf[:n], f)
	}
}

// eachEntry reads struct linux_dirent64: inode, offset (8 bytes each), record
// length (2), type (1), name.
func eachEntry(buf []byte, f func(entry)) {
	const nameAt = 19
	for len(buf) > nameAt {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size <= nameAt || size > len(buf) {
			return
		}
		name, _, _ := bytes.Cut(buf[nameAt:size], []byte{0})
		if len(name) > 0 && name[0] >= '1' && name[0] <= '9' {
			if pid, err := strconv.Atoi(string(name)); err == nil {
				f(entry{pid: pid, inode: binary.NativeEndian.Uint64(buf)})
			}
		}
		buf = buf[size:]
	}
}

// now is the time as /proc counts it: clock ticks since boot, 100 a second.
func (p procfs) now() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return uint64(ts.Sec)*100 + uint64(ts.Nsec)/10_000_000
}
