package cmd_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopm/daemon/api"
	"gopm/tools/stranger"
)

// The door of the API: who is let in, and what one who is can take.

// askedBy is this very gopm, asked by another user.
func (g *gopm) askedBy(uid int) *gopm {
	other := *g
	other.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	return &other
}

// Every command of another user is refused though he can reach the socket, and he is told
// why; he is named in the log, once. Root and the user himself go on.
func TestAnotherUserIsRefused(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	const stranger = 54321
	g.run("start", "./run", "--min-uptime", "100ms")
	was := g.pids()
	must(t, os.Chmod(g.home, 0o777))
	must(t, os.Chmod(filepath.Join(g.home, "gopm.sock"), 0o777))
	other := g.askedBy(stranger)
	for _, command := range []string{"ls", "jlist", "info run", "env run", "logs --nostream", "events", "stop all", "delete all", "kill", "save", "update"} {
		r := other.try(strings.Fields(command)...)
		if r.code == 0 {
			t.Errorf("gopm %s of another user: %v", command, r)
		}
		lacks(t, "gopm "+command, r.out+r.err, "panic", "goroutine")
	}
	other.fail(1, []string{"refused", "this gopm is for root,", "you are uid 54321", "GOPM_HOME"}, "ls")
	if now := g.pids(); fmt.Sprint(now) != fmt.Sprint(was) {
		t.Errorf("processes %v, before %v", now, was)
	}
	if n := strings.Count(g.log(), "refused: uid 54321 (pid "); n != 1 {
		t.Errorf("the log names him %d times", n)
	}
	contains(t, "events", g.run("events", "--nostream"), "refused: uid 54321")
}

// A socket that another user has laid where ours should be is told nothing.
func TestSocketOfAnotherUserIsToldNothing(t *testing.T) {
	g := newGopm(t)
	const thief, victim = 54321, 54322
	must(t, os.Mkdir(g.home, 0o777))
	must(t, os.Chmod(g.home, 0o777))
	must(t, os.Chown(g.home, thief, thief))
	var l net.Listener
	must(t, stranger.Do(thief, func() (err error) {
		l, err = net.Listen("unix", filepath.Join(g.home, "gopm.sock"))
		return err
	}))
	must(t, os.Chmod(filepath.Join(g.home, "gopm.sock"), 0o777))
	heard := make(chan string, 1)
	go func() { // ended by the Close below
		var all []byte
		defer func() { heard <- string(all) }()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			text, _ := io.ReadAll(conn)
			all = append(all, text...)
			conn.Close()
		}
	}()
	other := g.askedBy(victim).with("SECRET=do not tell")
	g.sleeper("run")
	for _, command := range []string{"ls", "ping", "start ./run", "stop all"} {
		r := other.try(strings.Fields(command)...)
		if r.code == 0 {
			t.Errorf("gopm %s: %v", command, r)
		}
	}
	other.fail(1, []string{"uid 54321 answers at", "nothing was told to it"}, "ping")
	// Nor does root fall for one that lies where everybody can write.
	everybodys := filepath.Join(filepath.Dir(g.home), "e")
	for _, err := range []error{os.Mkdir(everybodys, 0o777), os.Chmod(everybodys, 0o1777), os.Rename(g.home, everybodys+"/h")} {
		must(t, err)
	}
	g.at(everybodys+"/h").fail(1, []string{"uid 54321 answers at", "nothing was told to it"}, "ping")
	must(t, l.Close())
	if text := <-heard; text != "" {
		t.Errorf("the stranger was told %q", text)
	}
}

// Ten thousand connections, of which none says anything or all begin and say no more,
// take neither the daemon's memory nor the commands their turn.
func TestFloodOfConnections(t *testing.T) {
	g := newGopm(t)
	g.sleeper("run")
	g.run("start", "./run", "--min-uptime", "100ms")
	before := resident(t, g.daemonNow()) >> 10
	var fastest, slowest time.Duration
	const flood, atOnce = 10_000, 50
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	for worker := range atOnce {
		wg.Go(func() { // ends with its share; waited for below
			for range flood / atOnce {
				conn, err := api.Home{Dir: g.home}.Dial()
				if err != nil {
					t.Errorf("connection: %v", err)
					return
				}
				if worker%2 == 0 {
					_, _ = io.WriteString(conn, "POST /v1/stop HTTP/1.1\r\nHost: go") // it may have been sent away already
				}
				mu.Lock()
				open = append(open, conn)
				mu.Unlock()
			}
		})
	}
	flooded := make(chan struct{})
	go func() { wg.Wait(); close(flooded) }() // ends with the workers
	for during := true; during; {
		began := time.Now()
		contains(t, "ls", g.run("ls"), "run", "online")
		took := time.Since(began)
		if fastest == 0 || took < fastest {
			fastest = took
		}
		slowest = max(slowest, took)
		select {
		case <-flooded:
			during = false
		default:
		}
	}
	after := resident(t, g.daemonNow()) >> 10
	t.Logf("%d connections; daemon %d KB before, %d KB after; gopm ls took %v to %v", len(open), before, after, fastest, slowest)
	if after-before > 64<<10 {
		t.Errorf("the daemon has grown from %d to %d KB", before, after)
	}
	for _, conn := range open {
		conn.Close()
	}
	eventually(t, soon, func() error {
		if n := g.daemonFiles(); n > 200 {
			return fmt.Errorf("the daemon still has %d descriptors", n)
		}
		return nil
	})
	contains(t, "ls", g.run("ls"), "run", "online")
}
