package keeper

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// packets has one of each kind, as a daemon and a keeper send them.
func packets() (all [][]byte) {
	for _, m := range []message{
		{verb: verbPut, key: "i/7", main: Main{4711, 1234567}, note: []byte("{}\n\xff")}, {verb: verbEntry, key: "api", note: []byte("x")},
		{verb: verbDrop, key: "i/7"}, {verb: verbReady}, {verb: verbCollect, main: Main{Pid: 5}}, {verb: verbDeadline, key: "i/7", main: Main{5, 6}, number: 1000},
		{verb: verbUntil, key: "i/7", main: Main{5, 6}, number: 7, note: joinMarker([]string{"pm_id=7", "GOPM_HOME=/h"})}, {verb: verbHandOver}, {verb: verbLeaving},
		{verb: verbWelcome, number: 3, note: greeting{"killed", true, "no", 2047, true}.encode()}, {verb: verbCollected, main: Main{Pid: 5}, number: -1}, {verb: verbCollected, main: Main{Pid: 5}, number: 256},
	} {
		all = append(all, m.encode())
	}
	return all
}

// FuzzInbox has any packet arrive with any number of descriptors: what isn't a message of
// ours is an error of that packet alone, and no descriptor is lost or kept.
func FuzzInbox(f *testing.F) {
	for _, packet := range packets() {
		for files := range uint8(3) {
			f.Add(packet, files, []byte("a note of its own"))
		}
	}
	f.Add([]byte("2 put k 0 0 0+\n"), uint8(1), []byte(nil))
	f.Add(bytes.Repeat([]byte("x"), maxPacket), uint8(0), []byte(nil))
	f.Fuzz(func(t *testing.T, packet []byte, files uint8, memory []byte) {
		if len(packet) == 0 || len(packet) > maxPacket {
			return // an empty one is the end of a link
		}
		near, far, err := pair()
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(near)
		defer unix.Close(far)
		var sentFiles []int
		for range files % 5 {
			fd, err := writeAll("fuzz", memory)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			sentFiles = append(sentFiles, fd)
		}
		if post(near, packet, sentFiles) != sent {
			t.Fatal("not sent")
		}
		lowest := nextDescriptor(t)
		var in inbox
		m, err := in.receive(far)
		var bad *packetError
		switch {
		case err != nil && (!errors.As(err, &bad) || errors.Is(err, io.EOF)):
			t.Errorf("%q: %v ends the link", packet, err)
		case err == nil && m.long:
			t.Errorf("%q: its note was not read", packet)
		case err == nil && len(sentFiles) > len(m.files) && !bytes.Equal(m.note, memory):
			t.Errorf("%q: the note is %q, want %q", packet, m.note, memory)
		}
		closeAll(m.files)
		if now := nextDescriptor(t); now != lowest {
			t.Errorf("%q with %d descriptors: one is left open", packet, len(sentFiles))
		}
	})
}

// nextDescriptor is the lowest that is free.
func nextDescriptor(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return fd
}

// FuzzNotes reads what travels in notes, and what the kernel says of a program's pages.
func FuzzNotes(f *testing.F) {
	for _, s := range []string{"before was killed\nroom 2047\nleases yes\n", "room 2\nroom -1\nchildren nowhere\n", "a=b\x00c=d\x00", "\x00", "a\x00\x00b", "55d0-55e0 r--p 0 08:01 7   /usr/bin/gopm", "0-ffffffffffffffffffff r /", "-", "e0-d0 r--p 0 0 0 /x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, note []byte) {
		g := decodeGreeting(note)
		if g.room != 0 && g.room < 3 {
			t.Errorf("%q makes room with descriptor %d", note, g.room)
		}
		if again := decodeGreeting(g.encode()); again != g {
			t.Errorf("%+v became %+v", g, again)
		}
		marker := splitMarker(note)
		if again := splitMarker(joinMarker(marker)); !slices.Equal(again, marker) {
			t.Errorf("%q became %q", marker, again)
		}
		if slices.Contains(marker, "") && marked(os.Getpid(), marker) {
			t.Errorf("%q marks a process that it doesn't name", marker)
		}
		if low, high, ok := readOnlyFile(string(note)); !ok && (low != 0 || high != 0) {
			t.Errorf("%q: %x-%x", note, low, high)
		}
	})
}

// FuzzMemory: what a keeper accepts of the one before addresses nobody whom that can't have
// meant, at no time that it can't have meant.
func FuzzMemory(f *testing.F) {
	golden, err := os.ReadFile(filepath.Join("testdata", "memory-1.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	for _, s := range []string{
		`{"version":1,"lock":5,"entries":[{"key":"k","files":[7]}],"daemon":{"pid":5,"link":8}}`,
		`{"version":1,"lock":5,"deadlines":[{"key":"k","pid":7,"left_ms":9223372036854775807}]}`,
		`{"version":1,"lock":5,"deadlines":[{"key":"k","pid":7,"left_ms":-9223372036854775808}]}`,
		`{"version":1,"lock":5,"leases":[{"key":"k","ends_ms":9223372036854775807}]}`,
		`{"version":1,"lock":5,"leases":[{"key":"k","ends_ms":1,"marker":[""]}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := decodeMemory(text)
		if err != nil {
			return
		}
		for _, fd := range m.descriptors() {
			if fd < 3 {
				t.Errorf("%s: descriptor %d", text, fd)
			}
		}
		for _, d := range m.Deadlines {
			if left := time.Duration(d.Left) * time.Millisecond; d.Pid < 2 || d.Left > 0 && left <= 0 {
				t.Errorf("%s: %v is left of %+v", text, left, d)
			}
		}
		for _, l := range m.Leases {
			if ends := time.Duration(l.Ends) * time.Millisecond; ends <= 0 {
				t.Errorf("%s: %+v", text, l)
			}
		}
	})
}
