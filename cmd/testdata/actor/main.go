// Actor is the program that the chaos tests run: it writes numbered lines, answers
// HTTP, starts slowly, refuses to stop and dies as its flags say, and keeps an
// account of its own that no death can falsify:
//
//	DIR/TAG.starts   one record of 32 bytes per run, appended: pid, time in ns
//	DIR/TAG.RUN      how many lines the run has written, shared memory: stdout, stderr
//	DIR/TAG.torn     writes that failed: what gopm must never let happen
//
// Lines are "TAG RUN NUMBER padding" on stdout and "TAG! RUN NUMBER padding" on
// stderr. A write is at most 4096 bytes, which pipes take whole or not at all.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const atomicWrite = 4096 // PIPE_BUF

type actor struct {
	dir, tag string
	every    time.Duration // between two bursts; 0: as fast as possible
	burst    int           // writes without a pause
	batch    int           // lines per write
	pad      int
	errToo   bool
	slow     time.Duration // before anything is written
	stubborn bool          // SIGTERM and SIGINT are ignored
	life     time.Duration // then it ends; 0: it stays
	end      string        // how: an exit code or KILL
	port     int
	run      int
	written  []uint64 // shared memory
}

func main() {
	a := actor{}
	flag.StringVar(&a.dir, "dir", ".", "where the account is kept")
	flag.StringVar(&a.tag, "tag", "actor", "name in lines and account")
	flag.DurationVar(&a.every, "every", 0, "pause between two bursts")
	flag.IntVar(&a.burst, "burst", 1, "writes between two pauses")
	flag.IntVar(&a.batch, "batch", 1, "lines per write")
	flag.IntVar(&a.pad, "pad", 0, "bytes of padding")
	flag.BoolVar(&a.errToo, "err", false, "write to stderr, too")
	flag.DurationVar(&a.slow, "slow", 0, "pause before the first line")
	flag.BoolVar(&a.stubborn, "stubborn", false, "ignore SIGTERM and SIGINT")
	flag.DurationVar(&a.life, "life", 0, "time until it ends by itself")
	flag.StringVar(&a.end, "end", "0", "how: a code or KILL")
	flag.IntVar(&a.port, "port", 0, "answer HTTP here")
	flag.Parse()
	log.SetFlags(0)
	signal.Ignore(syscall.SIGPIPE)
	if a.stubborn {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
	}
	for flag.NArg() > 0 { // called as something else: it talks and doesn't end
		fmt.Println(strings.Repeat("what? ", 500))
		time.Sleep(time.Millisecond)
	}
	if err := a.open(); err != nil {
		log.Fatal(err)
	}
	if a.life > 0 {
		time.AfterFunc(a.life, a.die)
	}
	if err := a.act(); err != nil {
		log.Fatal(err)
	}
}

// open makes this run's account.
func (a *actor) open() error {
	starts, err := os.OpenFile(filepath.Join(a.dir, a.tag+".starts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer starts.Close()
	if _, err := fmt.Fprintf(starts, "%10d %20d\n", os.Getpid(), time.Now().UnixNano()); err != nil {
		return err
	}
	end, err := starts.Seek(0, io.SeekCurrent) // of our own record, whoever else appends
	if err != nil {
		return err
	}
	a.run = int(end/32) - 1
	account, err := os.OpenFile(filepath.Join(a.dir, fmt.Sprintf("%s.%d", a.tag, a.run)), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer account.Close()
	if err := account.Truncate(16); err != nil {
		return err
	}
	memory, err := syscall.Mmap(int(account.Fd()), 0, 16, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	a.written = unsafe.Slice((*uint64)(unsafe.Pointer(&memory[0])), 2)
	return nil
}

func (a *actor) act() error {
	<-time.After(a.slow)
	var all sync.WaitGroup
	all.Go(func() { a.write(os.Stdout, a.tag, 0) })
	if a.errToo {
		all.Go(func() { a.write(os.Stderr, a.tag+"!", 1) })
	}
	if a.port != 0 {
		return a.serve()
	}
	all.Wait()
	return nil
}

// write writes the numbered lines of a stream for ever.
func (a *actor) write(to *os.File, tag string, stream int) {
	padding := strings.Repeat("x", a.pad)
	var tick <-chan time.Time
	if a.every > 0 {
		tick = time.Tick(a.every)
	}
	text := make([]byte, 0, 2*atomicWrite)
	for n, writes := 0, 1; ; writes++ {
		text = text[:0]
		for range a.batch {
			before := len(text)
			text = fmt.Appendf(text, "%s %d %09d %s\n", tag, a.run, n, padding)
			if len(text) > atomicWrite {
				text = text[:before]
				break
			}
			n++
		}
		if _, err := to.Write(text); err != nil {
			_ = os.WriteFile(filepath.Join(a.dir, a.tag+".torn"), fmt.Appendf(nil, "run %d: %v", a.run, err), 0o644)
			os.Exit(99)
		}
		atomic.StoreUint64(&a.written[stream], uint64(n))
		if tick != nil && writes%a.burst == 0 {
			<-tick
		}
	}
}

func (a *actor) die() {
	if a.end == "KILL" {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	var code int
	_, _ = fmt.Sscan(a.end, &code)
	os.Exit(code)
}

// serve answers with who it is.
func (a *actor) serve() error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", a.port))
	if err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s %d %d", a.tag, a.run, os.Getpid())
	}))
}
