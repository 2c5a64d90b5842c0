package daemon

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMessagesAreUnderstood(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text    string
		full    bool
		skips   bool // before
		used    int
		ready   bool
		handles int
		then    bool // skips afterwards
	}{
		"ready":                      {text: `"ready"` + "\n", used: 8, ready: true},
		"with blanks around":         {text: ` "ready" ` + "\r\n", used: 11, ready: true},
		"among others":               {text: "{\"a\":1}\n\"ready\"\n[]\n", used: 19, ready: true},
		"only half":                  {text: `"read`},
		"one and a half":             {text: "{}\n\"rea", used: 3},
		"as a part of something":     {text: `{"a":"ready"}` + "\n", used: 14},
		"another word":               {text: `"ready!"` + "\n", used: 9},
		"without quotes":             {text: "ready\n", used: 6},
		"a socket":                   {text: `{"cmd":"NODE_HANDLE","type":"net.Socket","msg":1}` + "\n", used: 50, handles: 1},
		"node's own":                 {text: `{"cmd":"NODE_DISCONNECT"}` + "\n", used: 26},
		"too long":                   {text: strings.Repeat("x", 100), full: true, used: 100, then: true},
		"long, but there is room":    {text: strings.Repeat("x", 100)},
		"the rest of it":             {text: strings.Repeat("y", 100), skips: true, used: 100, then: true},
		"its end, and ready":         {text: "\"ready\"\n\"ready\"\n", skips: true, used: 16, ready: true},
		"its end, and half of ready": {text: "end\n\"rea", skips: true, used: 4},
		"nothing":                    {},
	} {
		ln := &line{skips: c.skips}
		used, ready, handles := ln.understand([]byte(c.text), c.full)
		if used != c.used || ready != c.ready || handles != c.handles || ln.skips != c.then {
			t.Errorf("%s: used %d, ready %v, %d handles, skips %v; want %+v", name, used, ready, handles, ln.skips, c)
		}
	}
}

// channelPair is a line with a channel, and its other end.
func channelPair(t *testing.T) (*line, int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ln := &line{in: &instance{name: "a"}, channel: pair[0], stdin: -1}
	t.Cleanup(func() {
		ln.close()
		unix.Close(pair[1])
	})
	return ln, pair[1]
}

// What was not acted upon stays in the socket, for the next daemon.
func TestHalfAMessageStays(t *testing.T) {
	t.Parallel()
	d := fuzzDaemon(t)
	ln, program := channelPair(t)
	buf := make([]byte, maxMessage)
	write := func(text string) {
		t.Helper()
		if n, err := unix.Write(program, []byte(text)); n != len(text) {
			t.Fatalf("%d of %d bytes written: %v", n, len(text), err)
		}
	}
	write("{\"a\":1}\n\"rea")
	for d.talk.heed(ln, buf) {
	}
	n, ended := ln.look(buf)
	if got := string(buf[:n]); got != `"rea` || ended {
		t.Errorf("left in the socket: %q, ended %v", got, ended)
	}
	write("dy\"\n")
	if n, _ := ln.look(buf); string(buf[:n]) != "\"ready\"\n" {
		t.Errorf("in the socket: %q", buf[:n])
	}
	for d.talk.heed(ln, buf) {
	}
	if n, ended := ln.look(buf); n != 0 || ended {
		t.Errorf("%d bytes are left, ended %v", n, ended)
	}
	unix.Close(program)
	if n, ended := ln.look(buf); n != 0 || !ended {
		t.Errorf("%d bytes, ended %v; want the end", n, ended)
	}
}

// A message of any length takes no more memory than the buffer, and the next one is heard.
func TestLongMessages(t *testing.T) {
	t.Parallel()
	d := fuzzDaemon(t)
	ln, program := channelPair(t)
	text := append(bytes.Repeat([]byte("x"), 10*maxMessage), "\n\"ready\"\n"...)
	written := make(chan error, 1)
	go func() { // ends when all is read, or the socket closed; waited for below
		for len(text) > 0 {
			n, err := unix.Write(program, text)
			if err != nil {
				written <- err
				return
			}
			text = text[n:]
		}
		written <- nil
	}()
	buf := make([]byte, maxMessage)
	heard := false
	for !heard {
		n, ended := ln.look(buf)
		if ended {
			t.Fatal("it has ended")
		}
		heard = bytes.HasSuffix(buf[:n], []byte("\n\"ready\"\n")) || string(buf[:n]) == "\"ready\"\n"
		d.talk.heed(ln, buf)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if !ln.told {
		t.Error("nothing was said about it")
	}
}

func FuzzMessages(f *testing.F) {
	for _, text := range []string{"\"ready\"\n", "{\"cmd\":\"NODE_HANDLE\",}\n", "\n\n", "\x00", "\"ready\"\n\"re"} {
		f.Add([]byte(text), true, false)
	}
	f.Fuzz(func(t *testing.T, text []byte, full, skips bool) {
		ln := &line{skips: skips}
		used, ready, handles := ln.understand(text, full)
		lines := bytes.Count(text, []byte("\n"))
		switch {
		case used < 0 || used > len(text), handles > lines, ready && lines == 0:
			t.Errorf("used %d of %d, ready %v, %d handles", used, len(text), ready, handles)
		case used == 0 && full && len(text) > 0:
			t.Error("a full buffer must be emptied, or it stays full for ever")
		case used > 0 && text[used-1] != '\n' && !ln.skips:
			t.Errorf("half a message was used: %q", text[:used])
		}
	})
}
