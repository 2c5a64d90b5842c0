package cluster

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// procDir is /proc; tests give another folder.
type procDir string

const proc procDir = "/proc"

// holder is a place where a socket is open: a process and its descriptor.
type holder struct{ pid, fd int }

// census is which sockets some processes have.
type census struct {
	sockets map[uint32]holder // by inode; of several holders one
	alive   bool              // one of the processes at least
	hidden  error             // why the descriptors of some live process can't be read
}

// owners asks which sockets these processes have. One that has ended has none.
func (p procDir) owners(pids []int) census {
	c := census{sockets: map[uint32]holder{}}
	for _, pid := range pids {
		found, err := c.add(pid, p.path(pid, "fd"))
		switch {
		case err != nil && !vanished(err):
			c.alive, c.hidden = true, err
		case found, err == nil && (p.addThreads(pid, &c) || p.runs(pid)):
			c.alive = true
		}
	}
	return c
}

// addThreads is for a process that shows no descriptors: when its first thread has
// ended before the others, they are to be seen only under these.
func (p procDir) addThreads(pid int, c *census) (found bool) {
	threads, _ := os.ReadDir(p.path(pid, "task"))
	for _, t := range threads {
		if found, _ := c.add(pid, p.path(pid, "task/"+t.Name()+"/fd")); found {
			return true
		}
	}
	return false
}

// add takes the sockets in a folder of descriptors; found means that any are open.
func (c *census) add(pid int, path string) (found bool, err error) {
	dir, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	at, link := int(dir.Fd()), make([]byte, 64)
	for _, name := range names {
		n, e := unix.Readlinkat(at, name, link)
		fd, bad := strconv.Atoi(name)
		switch {
		case e != nil && !vanished(e):
			return found, e
		case e != nil, bad != nil:
			continue
		}
		found = true
		if inode, is := socketInode(link[:n]); is {
			c.sockets[inode] = holder{pid, fd}
		}
	}
	return found, err
}

// socketInode reads "socket:[123]".
func socketInode(link []byte) (uint32, bool) {
	number, is := bytes.CutPrefix(link, []byte("socket:["))
	number, ends := bytes.CutSuffix(number, []byte("]"))
	if !is || !ends {
		return 0, false
	}
	inode, err := strconv.ParseUint(string(number), 10, 32)
	if err != nil {
		return 0, false
	}
	return uint32(inode), true
}

// runs is false for a process that has ended, reaped or not.
func (p procDir) runs(pid int) bool {
	state, _, ok := p.stat(pid)
	return ok && state != 'Z' && state != 'X'
}

func (p procDir) stat(pid int) (state byte, parent int, ok bool) {
	line, err := os.ReadFile(p.path(pid, "stat"))
	if err != nil {
		return 0, 0, false
	}
	return parseStat(line)
}

// parseStat reads state and parent from "pid (name) S ppid ...", where the name may
// contain anything.
func parseStat(line []byte) (state byte, parent int, ok bool) {
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return 0, 0, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return fields[0][0], parent, err == nil
}

// tree is these processes and all their descendants, as far as parents are alive:
// what has fallen to another process isn't found.
func (p procDir) tree(pids ...int) []int {
	known := true
	all := descend(pids, func(pid int) (below []int) {
		if known {
			below, known = p.childrenOf(pid)
		}
		return below
	})
	if known {
		return all
	}
	below := p.scan()
	return descend(pids, func(pid int) []int { return below[pid] })
}

// descend collects processes and what is below them, each once.
func descend(pids []int, below func(int) []int) (all []int) {
	seen := map[int]bool{}
	add := func(pids []int) {
		for _, pid := range pids {
			if !seen[pid] {
				seen[pid], all = true, append(all, pid)
			}
		}
	}
	add(pids)
	for at := 0; at < len(all); at++ {
		add(below(all[at]))
	}
	return all
}

// childrenOf reads the children of all threads of a process. The list isn't known if
// the kernel doesn't keep it (CONFIG_PROC_CHILDREN).
func (p procDir) childrenOf(pid int) (pids []int, known bool) {
	threads, err := os.ReadDir(p.path(pid, "task"))
	if err != nil {
		return nil, true // it has ended
	}
	for _, t := range threads {
		task := p.path(pid, "task/"+t.Name())
		list, err := os.ReadFile(task + "/children")
		if errors.Is(err, fs.ErrNotExist) {
			if _, err := os.Stat(task); err == nil {
				return nil, false
			}
		}
		for _, f := range bytes.Fields(list) {
			if child, err := strconv.Atoi(string(f)); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids, true
}

// scan asks every process for its parent.
func (p procDir) scan() (below map[int][]int) {
	below = map[int][]int{}
	entries, _ := os.ReadDir(string(p))
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent, ok := p.stat(pid); ok {
			below[parent] = append(below[parent], pid)
		}
	}
	return below
}

func (p procDir) path(pid int, rest string) string {
	return strings.Join([]string{string(p), strconv.Itoa(pid), rest}, "/")
}

// vanished says that the process isn't there any more.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
}
