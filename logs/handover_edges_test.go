package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// legacy is the estate of one stream within this process.
type legacy struct {
	e *estate
	w *os.File // the programs' end of the pipe
}

func newLegacy(t testing.TB, target Target) legacy {
	t.Helper()
	e := newEstate(t, []Target{target})
	fd := -1
	raw, err := e.pipes[0].SyscallConn()
	if err == nil {
		raw.Control(func(old uintptr) { fd, err = reopen(int(old), unix.O_RDWR) })
	}
	if err != nil {
		t.Fatal(err)
	}
	w := os.NewFile(uintptr(fd), "pipe")
	t.Cleanup(func() { w.Close() })
	return legacy{e, w}
}

// next is the next daemon's stream.
func (l legacy) next(t *testing.T) (*Pump, *Stream) {
	t.Helper()
	p, err := NewPump(Options{Log: t.Logf, Second: l.e.keepCopy})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p, adopt(t, p, Adoption{
		Target: l.e.targets[0], Pipe: duplicate(t, l.e.pipes[0]), Second: duplicate(t, l.e.seconds["0"]), Count: l.e.counts[0],
	})
}

// over hands over.
func (l legacy) over(p *Pump, s *Stream) {
	p.HandOver()
	l.e.counts[0] = s.Stats()
	p.Close()
}

// TestHandOverALine that is being written: it stays one line in every mode.
func TestHandOverALine(t *testing.T) {
	t.Parallel()
	for name, target := range map[string]Target{
		"raw": {}, "stamped": {Format: Format{Layout: "[T]"}}, "buffered": {Buffered: true},
		"buffered-stamped": {Buffered: true, Format: Format{Layout: "[T]"}},
	} {
		target.Path = filepath.Join(t.TempDir(), name+".log")
		l := newLegacy(t, target)
		for _, part := range strings.SplitAfter("one| lin|e, and| a", "|") {
			write(t, l.w, part)
			p, s := l.next(t)
			eventually(t, func() error { // it is in memory, or where it belongs
				if n := waiting(s.fd); n > 0 {
					return fmt.Errorf("%d bytes in the pipe", n)
				}
				return nil
			})
			l.over(p, s)
		}
		write(t, l.w, "nother\nnext\n")
		_, s := l.next(t)
		flush(t, s)
		got := strings.ReplaceAll(content(t, target.Path), "T: ", "")
		if want := "one| lin|e, and| another\nnext\n"; got != want {
			t.Errorf("%s: the log has %q, want %q", name, got, want)
		}
	}
}

// TestHandOverAFullFIFO: what it hasn't taken comes later, unless it has to be written
// in a format: then it has a second.
func TestHandOverAFullFIFO(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"", "[T]"} {
		path := filepath.Join(t.TempDir(), "fifo")
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		fifo, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		l := newLegacy(t, Target{Path: path, Format: Format{Layout: format}})
		const lines = 4000
		var want bytes.Buffer
		for i := range lines {
			want.Write(numbered(i))
		}
		wrote := make(chan error, 1)
		go func() { // ends when the pipes have taken it; waited for below
			_, err := l.w.Write(want.Bytes())
			wrote <- err
		}()
		p, s := l.next(t)
		eventually(t, func() error {
			if n := waiting(int(fifo.Fd())); n < pipeChunk*3/4 {
				return fmt.Errorf("the FIFO has %d bytes", n)
			}
			return nil
		})
		got := make(chan []byte, 1)
		read := func() { // ends with the last line; waited for below
			all := make([]byte, want.Len()+lines*len(format))
			if format != "" {
				all = make([]byte, want.Len()+lines*len("T: "))
			}
			io.ReadFull(fifo, all)
			got <- all
		}
		if format != "" {
			go read()
		}
		l.over(p, s)
		_, s = l.next(t)
		if format == "" {
			go read()
		}
		if err := <-wrote; err != nil {
			t.Fatal(err)
		}
		eventually(t, func() error { return s.Flush(context.Background()) })
		if all := bytes.ReplaceAll(<-got, []byte("T: "), nil); !bytes.Equal(all, want.Bytes()) {
			t.Errorf("format %q: the reader got %d other bytes: %+v", format, len(all), s.Stats())
		}
		fifo.Close()
	}
}

// TestHandOverOnADiskThatHangs ends all the same.
func TestHandOverOnADiskThatHangs(t *testing.T) {
	t.Parallel()
	for _, buffered := range []bool{true, false} {
		t.Run(fmt.Sprintf("buffered %v", buffered), func(t *testing.T) {
			t.Parallel()
			d := mountHangingDisk(t)
			p, _ := startPump(t)
			s, w := openStream(t, p, Target{Path: d.path, Buffered: buffered})
			write(t, w, "before\n")
			flush(t, s)
			d.tell(t, "h")
			defer d.tell(t, "r")
			write(t, w, "during\n")
			eventually(t, func() error {
				if st := s.Stats(); st.Stalled.IsZero() {
					return fmt.Errorf("%+v", st)
				}
				return nil
			})
			began := time.Now()
			p.HandOver()
			if d := time.Since(began); d > 2*closeWait {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// TestEntrust: a keeper that comes later is told of every second pipe.
func TestEntrust(t *testing.T) {
	t.Parallel()
	told := map[string]int{}
	p, err := NewPump(Options{Log: t.Logf, Second: func(key string, pipe *os.File) {
		if pipe != nil {
			told[key]++
		} else {
			told[key] = -100
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dir := t.TempDir()
	quiet, _ := openStream(t, p, Target{Key: "quiet", Path: filepath.Join(dir, "quiet")})
	queued, _ := openStream(t, p, Target{Key: "queued", Path: filepath.Join(dir, "queued"), Buffered: true})
	flooded, w := openStream(t, p, Target{Key: "flooded", Path: filepath.Join(dir, "flooded")})
	startFlood(t, flooded, w)()
	flush(t, flooded)
	p.Entrust()
	if fmt.Sprint(told) != fmt.Sprint(map[string]int{"queued": 2, "flooded": 2}) {
		t.Errorf("told %v", told)
	}
	if err := queued.Retarget(Target{Path: filepath.Join(dir, "queued"), UID: -1, GID: -1}); err != nil {
		t.Fatal(err)
	}
	flush(t, queued)
	for _, s := range []*Stream{quiet, queued, flooded} {
		s.Close()
	}
	if told["queued"] >= 0 || told["flooded"] >= 0 || len(told) != 2 {
		t.Errorf("told %v", told)
	}
}

// TestFullDisk: a file system of 1 MB is filled and freed, and daemons change
// meanwhile. Every line is there as a whole or counted, and the trouble is shown while
// it lasts. The file system is a namespace's own, and goes with its process.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$")
	if os.Getenv("LOGS_TEST_FULL") != "" {
		fullDiskCase(t, os.Getenv("LOGS_TEST_FULL"))
		return
	}
	cmd.Env = append(os.Environ(), "LOGS_TEST_FULL="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("no namespace of our own here: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, &out)
	}
}

func fullDiskCase(t *testing.T, dir string) {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no file system of our own here: %v", err)
	}
	for name, target := range map[string]Target{
		"raw": {}, "stamped": {Format: Format{Layout: "[T]"}}, "buffered": {Buffered: true},
	} {
		target.Path = filepath.Join(dir, name+".log")
		l := newLegacy(t, target)
		p, s := l.next(t)
		lines := 0
		say := func(n int) {
			t.Helper()
			for range n {
				write(t, l.w, string(numbered(lines)))
				lines++
				if lines%20 == 0 { // all that a queue takes for certain: pipes are small while their user has many
					flush(t, s)
				}
			}
			flush(t, s)
		}
		say(1000)
		filler := filepath.Join(dir, "filler")
		fill(t, filler)
		say(3000)
		if st := s.Stats(); st.Dropped == 0 || !strings.Contains(st.Error, "no space left") || st.DroppedSince == "" {
			t.Errorf("%s, full: %+v", name, st)
		}
		for i := range 3 {
			l.over(p, s)
			p, s = l.next(t)
			before := s.Stats().Dropped
			say(500)
			if st := s.Stats(); st.Dropped <= before || st.Error == "" {
				t.Errorf("%s, full after change %d: %+v, dropped before %d", name, i, st, before)
			}
		}
		l.over(p, s)
		os.Remove(filler)
		p, s = l.next(t)
		say(1000)
		st := s.Stats()
		if st.Error != "" {
			t.Errorf("%s, freed: %+v", name, st)
		}
		size := lineLength
		if target.Format.Layout != "" {
			size += len("T: ")
		}
		text, last, ended := content(t, target.Path), -1, 0
		for line := range strings.Lines(text) {
			var i int
			line = strings.TrimPrefix(line, "T: ")
			switch fmt.Sscanf(line, "%d", &i); {
			case line == string(numbered(i)) && i > last:
				last = i
			case size > lineLength && ended == 0: // the end of what the full disk tore isn't the program's own text
				ended++
			default:
				t.Errorf("%s: torn or doubled line %q after %d", name, line, last)
			}
		}
		uncounted := st.Dropped - int64(lines*size-len(text)+ended) // line ends of ours that could not be written are counted
		if last != lines-1 || uncounted < 0 || uncounted > int64(4*ended) {
			t.Errorf("%s: %d bytes of %d lines, the last is %d: %+v", name, len(text), lines, last, st)
		}
		p.Close()
		os.Remove(target.Path)
	}
}

// fill leaves no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !strings.Contains(err.Error(), "no space left") {
		t.Fatal(err)
	}
}
