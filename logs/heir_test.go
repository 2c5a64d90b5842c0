package logs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// estate holds the pipes of streams while the processes that move their bytes come
// and go, as the parent of a daemon does.
type estate struct {
	targets []Target // their Key is their place here
	pipes   []*os.File
	counts  []Stats

	mu      sync.Mutex // guards what follows; the goroutine that listens to an heir writes
	seconds map[string]*os.File
	told    int // how often
	killed  bool
}

func newEstate(t testing.TB, targets []Target) *estate {
	t.Helper()
	e := &estate{targets: targets, counts: make([]Stats, len(targets)), seconds: map[string]*os.File{}}
	for i := range targets {
		targets[i].Key, targets[i].UID, targets[i].GID = fmt.Sprint(i), -1, -1
		fd, err := newPipe(-1, -1)
		if err != nil {
			t.Fatal(err)
		}
		f, err := childFile(fd)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		e.pipes = append(e.pipes, f)
	}
	t.Cleanup(func() {
		for _, f := range append(e.pipes, slices.Collect(maps.Values(e.seconds))...) {
			f.Close()
		}
	})
	return e
}

// keep is what Options.Second is told.
func (e *estate) keep(key string, pipe *os.File) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told++
	if old := e.seconds[key]; old != nil {
		old.Close()
	}
	delete(e.seconds, key)
	if pipe != nil {
		e.seconds[key] = pipe
	}
}

// will is what an heir is told, with the pipes as descriptors from 4 on.
type will struct {
	Target Target
	Pipe   int
	Second int // 0: none
	Count  Stats
	Killed bool
}

// heir is a process that goes on with an estate.
type heir struct {
	estate *estate
	cmd    *exec.Cmd
	conn   *net.UnixConn
	gone   chan struct{} // closed when all it said is heard
}

func (e *estate) start(t testing.TB) *heir {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours := os.NewFile(uintptr(ends[0]), "heir")
	defer ours.Close()
	theirs := os.NewFile(uintptr(ends[1]), "keeper")
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	files, wills := []*os.File{theirs}, []will(nil)
	for i, target := range e.targets {
		w := will{Target: target, Pipe: 3 + len(files), Count: e.counts[i], Killed: e.killed}
		files = append(files, e.pipes[i])
		if second := e.seconds[target.Key]; second != nil { // the one before has ended
			w.Second = 3 + len(files)
			files = append(files, second)
		}
		wills = append(wills, w)
	}
	text, _ := json.Marshal(wills)
	h := &heir{estate: e, conn: conn.(*net.UnixConn), gone: make(chan struct{}), cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(os.Environ(), "LOGS_TEST_CHILD=heir", "LOGS_TEST_WILL="+string(text), "GORACE=atexit_sleep_ms=0")
	h.cmd.ExtraFiles, h.cmd.Stdout, h.cmd.Stderr = files, os.Stdout, os.Stderr
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go h.listen(ready) // ended by the end of the heir; end waits for it
	select {
	case <-ready:
	case <-h.gone:
		t.Fatal("an heir ended at once")
	}
	return h
}

// listen is the keeper's side.
func (h *heir) listen(ready chan struct{}) {
	defer close(h.gone)
	b, oob := make([]byte, 256<<10), make([]byte, 256)
	for {
		n, on, _, _, err := h.conn.ReadMsgUnix(b, oob)
		if err != nil || n == 0 {
			return
		}
		switch key := string(b[1:n]); b[0] {
		case 'r':
			close(ready)
		case 'c':
			json.Unmarshal(b[1:n], &h.estate.counts)
		case 's':
			h.estate.keep(key, received(oob[:on]))
		}
	}
}

func received(oob []byte) *os.File {
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(all) != 1 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&all[0])
	if err != nil || len(fds) != 1 {
		return nil
	}
	return os.NewFile(uintptr(fds[0]), "second pipe")
}

// end kills it, or has it hand over, and returns when all it said is heard.
func (h *heir) end(t testing.TB, kill bool) {
	t.Helper()
	if kill {
		h.cmd.Process.Kill()
	} else {
		h.conn.Write([]byte("over"))
	}
	h.estate.killed = kill
	err := h.cmd.Wait()
	if !kill && err != nil {
		t.Errorf("the heir: %v", err)
	}
	<-h.gone
	h.conn.Close()
}

// heirChild goes on with an estate until it is killed or has handed over.
func heirChild() int {
	if err := inherit(os.NewFile(3, "keeper")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func inherit(f *os.File) error {
	c, err := net.FileConn(f)
	if err != nil {
		return err
	}
	conn := c.(*net.UnixConn)
	var wills []will
	if err := json.Unmarshal([]byte(os.Getenv("LOGS_TEST_WILL")), &wills); err != nil {
		return err
	}
	p, err := NewPump(Options{
		Log: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) },
		Second: func(key string, pipe *os.File) {
			var oob []byte
			if pipe != nil {
				oob = unix.UnixRights(int(pipe.Fd()))
			}
			conn.WriteMsgUnix([]byte("s"+key), oob, nil)
		},
	})
	if err != nil {
		return err
	}
	var all []Adoption
	for _, w := range wills {
		a := Adoption{Target: w.Target, Pipe: os.NewFile(uintptr(w.Pipe), "pipe"), Count: w.Count, Killed: w.Killed}
		if w.Second > 0 {
			a.Second = os.NewFile(uintptr(w.Second), "second pipe")
		}
		all = append(all, a)
	}
	streams, err := p.AdoptAll(all)
	if err != nil {
		return err
	}
	conn.Write([]byte("r"))
	if _, err := conn.Read(make([]byte, 8)); err != nil {
		return err
	}
	p.HandOver()
	var counts []Stats
	for _, s := range streams {
		counts = append(counts, s.Stats())
	}
	b, _ := json.Marshal(counts)
	_, err = conn.Write(append([]byte("c"), b...))
	return err
}

// source is a program that writes numbered lines of its own into a pipe, in pieces
// that end anywhere.
type source struct {
	w     *os.File
	name  int
	lines int
	wrote atomic.Int64 // lines
}

func (s *source) run(seed uint64) {
	r := rand.New(rand.NewPCG(seed, uint64(s.name)))
	piece := 4 << (10 + s.name%5) // from lines to a flood
	line := fmt.Appendf(nil, "s%03d %08d %s\n", s.name, 0, filling[:lineLength-15])
	var b bytes.Buffer
	for i := range s.lines {
		for at, rest := 12, i; at > 4; at, rest = at-1, rest/10 { // as Appendf does, but faster
			line[at] = byte('0' + rest%10)
		}
		b.Write(line)
		s.wrote.Store(int64(i))
		for b.Len() > piece || i == s.lines-1 && b.Len() > 0 {
			if _, err := s.w.Write(b.Next(1 + r.IntN(2*piece))); err != nil {
				return
			}
		}
	}
	s.wrote.Store(int64(s.lines))
}

// begin starts a program for every stream of the estate.
func (e *estate) begin(t testing.TB, seed uint64, lines []int) (all []*source, wait func()) {
	t.Helper()
	var wg sync.WaitGroup
	for i, f := range e.pipes {
		raw, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var w *os.File
		raw.Control(func(fd uintptr) { w, err = childFile(int(fd)) })
		if err != nil {
			t.Fatal(err)
		}
		s := &source{w: w, name: i, lines: lines[i]}
		all = append(all, s)
		wg.Go(func() { // ends with its lines; waited for by wait
			s.run(seed)
			w.Close()
		})
	}
	return all, wg.Wait
}

// lineReader finds the numbered lines of a log, and says which of its lines are none.
type seen struct {
	next  map[int]int // by stream: the number expected next
	gaps  map[int]int // lines that are missing
	torn  []string
	lines int
}

func (s *seen) read(text []byte, decode func([]byte) []byte) {
	for line := range bytes.Lines(text) {
		s.lines++
		body := decode(line)
		var name, n int
		if _, err := fmt.Sscanf(string(body[:min(len(body), 13)]), "s%03d %08d", &name, &n); err != nil || len(body) != lineLength || n < s.next[name] {
			s.torn = append(s.torn, string(body))
			continue
		}
		s.gaps[name] += n - s.next[name]
		s.next[name] = n + 1
	}
}

func readLog(t *testing.T, path string, decode func([]byte) []byte) *seen {
	t.Helper()
	s := &seen{next: map[int]int{}, gaps: map[int]int{}}
	var all bytes.Buffer
	for _, f := range files(t, path) {
		io.WriteString(&all, unpacked(t, f))
	}
	s.read(all.Bytes(), decode)
	return s
}
