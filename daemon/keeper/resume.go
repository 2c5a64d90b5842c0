package keeper

import (
	"cmp"
	"golang.org/x/sys/unix"

	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// memory is what a keeper leaves to the program that it executes: its descriptors by
// number, and all else. It is JSON in a memfd. Fields may be added: what a successor
// doesn't know it passes over. One that it can't do without needs another version.
type memory struct {
	Version   int              `json:"version"`
	Lock      int              `json:"lock"`
	Before    string           `json:"before,omitempty"`
	Terminate bool             `json:"terminate,omitempty"`
	By        unix.Signal      `json:"terminate_by,omitempty"` // if that isn't SIGTERM
	Daemon    *memoryDaemon    `json:"daemon,omitempty"`
	Entries   []memoryEntry    `json:"entries"`
	Deadlines []memoryDeadline `json:"deadlines,omitempty"`
	Leases    []memoryLease    `json:"leases,omitempty"`
}

const memoryVersion = 1

// memoryDaemon has just served for the first time, so it is always our child.
type memoryDaemon struct {
	Pid     int       `json:"pid"`
	Link    int       `json:"link"` // its protocol is that of version 2
	Started time.Time `json:"started"`
	Ready   bool      `json:"ready,omitempty"`
	Leaving bool      `json:"leaving,omitempty"`
}

type memoryEntry struct {
	Key   string `json:"key"`
	Pid   int    `json:"pid,omitempty"`
	Start uint64 `json:"start,omitempty"`
	Note  []byte `json:"note,omitempty"`
	Files []int  `json:"files,omitempty"`
}

type memoryDeadline struct {
	Key   string `json:"key"`
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
	Left  int64  `json:"left_ms"`
}

type memoryLease struct {
	Key    string   `json:"key"`
	Pid    int      `json:"pid,omitempty"`
	Start  uint64   `json:"start,omitempty"`
	Marker []string `json:"marker,omitempty"`
	Ends   int64    `json:"ends_ms"` // CLOCK_BOOTTIME
}

// remember writes down everything, and lists the descriptors that it speaks of.
func (k *keeper) remember() (fd int, fds []int, err error) {
	m := memory{Version: memoryVersion, Lock: int(k.lock.Fd()), Before: k.before.how, Terminate: k.missed.end != 0, By: k.missed.end, Entries: []memoryEntry{}}
	if d := k.daemon; d != nil && d.conn != nil {
		m.Daemon = &memoryDaemon{Pid: d.pid, Link: d.conn.fd, Started: d.started, Ready: d.ready, Leaving: d.leaving}
	}
	for _, e := range k.store.list {
		m.Entries = append(m.Entries, memoryEntry{e.key, e.main.Pid, e.main.Start, e.note, e.files})
	}
	now := time.Now()
	for key, d := range k.deadMan.groups {
		m.Deadlines = append(m.Deadlines, memoryDeadline{key, d.main.Pid, d.main.Start, d.due.Sub(now).Milliseconds()})
	}
	for key, l := range k.deadMan.leases {
		m.Leases = append(m.Leases, memoryLease{key, l.main.Pid, l.main.Start, l.marker, l.ends.Milliseconds()})
	}
	slices.SortFunc(m.Deadlines, func(a, b memoryDeadline) int { return strings.Compare(a.Key, b.Key) })
	slices.SortFunc(m.Leases, func(a, b memoryLease) int { return strings.Compare(a.Key, b.Key) })
	text, err := json.Marshal(m)
	if err != nil {
		return -1, nil, err
	}
	fd, err = writeAll("gopm keeper", text)
	return fd, m.descriptors(), err
}

// descriptors lists all that the memory speaks of.
func (m memory) descriptors() []int {
	fds := []int{m.Lock}
	if m.Daemon != nil {
		fds = append(fds, m.Daemon.Link)
	}
	for _, e := range m.Entries {
		fds = append(fds, e.Files...)
	}
	return fds
}

// decodeMemory accepts what any keeper of this version may have written.
func decodeMemory(text []byte) (memory, error) {
	var m memory
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("cannot read the memory of the keeper before: %v", err)
	}
	if m.Version != memoryVersion {
		return m, fmt.Errorf("cannot read the memory of the keeper before: version %d, want %d", m.Version, memoryVersion)
	}
	if m.Daemon != nil && m.Daemon.Pid < 2 {
		return m, fmt.Errorf("cannot read the memory of the keeper before: daemon's pid %d", m.Daemon.Pid)
	}
	for _, e := range m.Entries {
		if !goodKey(e.Key) || e.Pid < 0 || e.Pid == 1 {
			return m, fmt.Errorf("cannot read the memory of the keeper before: entry %.40q, pid %d", e.Key, e.Pid)
		}
	}
	for _, d := range m.Deadlines {
		if d.Pid < 2 || d.Left > maxLimit.Milliseconds() {
			return m, fmt.Errorf("cannot read the memory of the keeper before: deadline %.40q, pid %d, left %d", d.Key, d.Pid, d.Left)
		}
	}
	for _, l := range m.Leases {
		if !goodKey(l.Key) || l.Pid < 0 || l.Pid == 1 || l.Ends < 1 || l.Ends > maxBoottime {
			return m, fmt.Errorf("cannot read the memory of the keeper before: lease %.40q, pid %d, ends %d", l.Key, l.Pid, l.Ends)
		}
	}
	for _, fd := range m.descriptors() {
		if fd < 3 {
			return m, fmt.Errorf("cannot read the memory of the keeper before: descriptor %d", fd)
		}
	}
	return m, nil
}

// resume makes this process what the one it was executed over had been.
func (k *keeper) resume(fd int) error {
	text, err := readAll(fd)
	if err != nil {
		return err
	}
	m, err := decodeMemory(text)
	if err != nil {
		return err
	}
	if err := setCloseOnExec(m.descriptors(), true); err != nil {
		return fmt.Errorf("cannot resume: %w", err)
	}
	closeStrays(nil) // the memory, and what it doesn't speak of
	k.adopt()
	k.lock = os.NewFile(uintptr(m.Lock), k.opts.Lock)
	if k.before.how = m.Before; m.Terminate {
		k.missed.end = cmp.Or(m.By, unix.SIGTERM)
	}
	for _, e := range m.Entries {
		k.store.put(e.Key, Main{e.Pid, e.Start}, e.Note, e.Files, false)
	}
	for _, d := range m.Deadlines {
		k.deadMan.groups[d.Key] = deadline{Main{d.Pid, d.Start}, time.Now().Add(time.Duration(d.Left) * time.Millisecond)}
	}
	for _, l := range m.Leases { // one that was enforced is enforced again: that changes nothing
		k.deadMan.leases[l.Key] = lease{main: Main{l.Pid, l.Start}, marker: l.Marker, ends: time.Duration(l.Ends) * time.Millisecond}
	}
	k.deadMan.wind()
	if len(k.deadMan.leases) > 0 {
		k.deadMan.guard = k.newGuard() // in the place of the one that the keeper before had
	}
	if err := k.resumeDaemon(m.Daemon); err != nil {
		return err
	}
	if k.daemon != nil {
		k.daemon.conn.send(message{verb: verbWelcome, note: greeting{leases: true}.encode()}) // what we can do, the one before may not have been able to
	}
	k.logf("the keeper has become the new binary")
	k.reap() // what ended in between told nobody
	return nil
}

func (k *keeper) resumeDaemon(m *memoryDaemon) (err error) {
	if m == nil {
		k.next = time.Now()
		return nil
	}
	conn, err := newConn(m.Link)
	if err != nil {
		return err
	}
	k.daemon = &daemon{pid: m.Pid, ours: true, started: m.Started, conn: conn, ready: m.Ready, leaving: m.Leaving}
	return nil
}
