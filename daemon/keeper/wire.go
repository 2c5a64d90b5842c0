package keeper

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The protocol: one packet is one message, a line of words that read well under
// strace, then the note if there is one. Descriptors travel with the packet. The
// version comes first in every packet, so that what meets another version refuses
// it instead of guessing what it means. Any later gopm has to understand this one:
// its daemon meets our keeper when gopm is updated, its keeper takes over our daemon.
//
// The daemon says:
//
//	2 put KEY PID START FILES    NOTE follows; FILES 0: the key's descriptors stay
//	2 drop KEY
//	2 ready
//	2 collect PID
//	2 deadline KEY PID START MS    0 ms: taken back
//	2 until KEY PID START MS       MS of CLOCK_BOOTTIME, 0: taken back; marker follows; see lease.go
//	2 handover                     with the new binary
//	2 leaving
//
// The keeper says:
//
//	2 welcome ENTRIES              lines "name value" follow; an unknown name is passed over.
//	                               A keeper that has replaced another says it again, without entries
//	2 entry KEY PID START FILES    NOTE follows; as many as the welcome said
//	2 collected PID STATUS         as wait4 gave it; -: not a child of the keeper's that has ended
//
// FILES with a + means one descriptor more: a memfd with a note too long for a packet.
//
// Protocol is the version of all that.
const Protocol = "2"

type verb string

const (
	verbPut       verb = "put"
	verbDrop      verb = "drop"
	verbReady     verb = "ready"
	verbCollect   verb = "collect"
	verbDeadline  verb = "deadline"
	verbUntil     verb = "until" // only if the welcome says so
	verbHandOver  verb = "handover"
	verbLeaving   verb = "leaving"
	verbWelcome   verb = "welcome"
	verbEntry     verb = "entry"
	verbCollected verb = "collected"
)

const (
	maxKey    = 200      // bytes
	maxFiles  = 250      // the kernel lets 253 travel together
	maxNote   = 64 << 10 // in a packet; what is longer travels in a memfd
	maxPacket = maxNote + 512
	maxLimit  = 366 * 24 * time.Hour

	maxBoottime = 1 << 43 // ms that a machine runs: 278 years, and as ns still a Duration
)

// Main is the main process of an entry: the number alone may be another's by now.
type Main struct {
	Pid   int
	Start uint64 // clock ticks since boot, as in /proc/PID/stat
}

// message is one packet, in either direction. Which fields a verb has is in the
// table above; number is ENTRIES, STATUS (-1: none) or MS.
type message struct {
	verb   verb
	key    string
	main   Main
	number int64
	note   []byte
	long   bool // the note is in the last descriptor of files
	cut    bool // received without its descriptors: there was no room for them
	files  []int
}

// encode is the packet of a message, without its descriptors.
func (m message) encode() []byte {
	b := make([]byte, 0, 96+len(m.key)+len(m.note))
	b = append(b, Protocol+" "...)
	b = append(b, m.verb...)
	switch m.verb {
	case verbPut, verbEntry:
		files := len(m.files)
		if m.long {
			b = fmt.Appendf(b, " %s %d %d %d+\n", m.key, m.main.Pid, m.main.Start, files-1)
			return b
		}
		b = fmt.Appendf(b, " %s %d %d %d\n", m.key, m.main.Pid, m.main.Start, files)
		return append(b, m.note...)
	case verbDrop:
		b = append(append(b, ' '), m.key...)
	case verbCollect:
		b = fmt.Appendf(b, " %d", m.main.Pid)
	case verbDeadline:
		b = fmt.Appendf(b, " %s %d %d %d", m.key, m.main.Pid, m.main.Start, m.number)
	case verbUntil:
		b = fmt.Appendf(b, " %s %d %d %d\n", m.key, m.main.Pid, m.main.Start, m.number)
		return append(b, m.note...)
	case verbWelcome:
		b = fmt.Appendf(b, " %d\n", m.number)
		return append(b, m.note...)
	case verbCollected:
		if m.number < 0 {
			return fmt.Appendf(b, " %d -\n", m.main.Pid)
		}
		b = fmt.Appendf(b, " %d %d", m.main.Pid, m.number)
	}
	return append(b, '\n')
}

// decode reads a packet. It accepts only what encode writes: a number that was
// misread here would become a signal to the wrong process. The note is part of the
// packet, not a copy. cut says that descriptors were lost on the way: then an entry
// still counts, without any.
func decode(packet []byte, files []int, cut bool) (message, error) {
	head, note, found := bytes.Cut(packet, []byte("\n"))
	words := strings.Split(string(head), " ")
	if words[0] != Protocol {
		return message{}, fmt.Errorf("cannot read message %.40q: version %.10q, want %s", head, words[0], Protocol)
	}
	m := message{note: note, files: files, cut: cut}
	if len(m.note) == 0 {
		m.note = nil
	}
	err := fmt.Errorf("no end of the line")
	if found {
		err = m.decodeWords(words[1:])
	}
	if err != nil {
		return message{}, fmt.Errorf("cannot read message %.80q: %w", head, err)
	}
	return m, nil
}

func (m *message) decodeWords(words []string) error {
	if len(words) == 0 {
		return fmt.Errorf("no verb")
	}
	m.verb = verb(words[0])
	want, values := arguments(m.verb), words[1:]
	switch {
	case want < 0:
		return fmt.Errorf("unknown verb %.20q", words[0])
	case len(values) != want:
		return fmt.Errorf("want %d values, got %d", want, len(values))
	}
	files := 0
	var err error
	switch m.verb {
	case verbPut, verbEntry:
		files, err = m.decodeEntry(values)
	case verbDeadline:
		if err = m.decodeMain(values); err == nil {
			m.number, err = number("time limit", values[3], 0, uint64(maxLimit.Milliseconds()))
		}
	case verbUntil:
		if err = m.decodeMain(values); err == nil {
			m.number, err = number("time", values[3], 0, maxBoottime)
		}
	case verbHandOver:
		files = 1
	case verbWelcome:
		m.number, err = number("number of entries", values[0], 0, 1<<31-1)
	default:
		err = m.decodeOther(values)
	}
	if err != nil {
		return err
	}
	if m.cut && !m.long && (m.verb == verbPut || m.verb == verbEntry) {
		files = 0
	}
	if files != len(m.files) {
		return fmt.Errorf("want %d descriptors, got %d", files, len(m.files))
	}
	if len(m.note) > 0 && (m.long || !m.verb.hasNote()) {
		return fmt.Errorf("an unexpected note")
	}
	return nil
}

func (v verb) hasNote() bool {
	return v == verbPut || v == verbEntry || v == verbWelcome || v == verbUntil
}

// arguments is how many words follow a verb; -1: there is no such verb.
func arguments(v verb) int {
	switch v {
	case verbReady, verbHandOver, verbLeaving:
		return 0
	case verbDrop, verbCollect, verbWelcome:
		return 1
	case verbCollected:
		return 2
	case verbPut, verbDeadline, verbUntil, verbEntry:
		return 4
	}
	return -1
}

// decodeOther reads the messages of one word or two.
func (m *message) decodeOther(values []string) (err error) {
	switch m.verb {
	case verbDrop:
		m.key, err = readKey(values[0])
	case verbCollect:
		err = m.decodePid(values[0], 2)
	case verbCollected:
		if err = m.decodePid(values[0], 2); err != nil {
			return err
		}
		if m.number = -1; values[1] != "-" {
			m.number, err = number("status", values[1], 0, 1<<31-1)
		}
	}
	return err
}

func (m *message) decodeEntry(values []string) (files int, err error) {
	if err := m.decodeMain(values); err != nil {
		return 0, err
	}
	text, long := strings.CutSuffix(values[3], "+")
	n, err := number("number of descriptors", text, 0, maxFiles)
	files = int(n)
	if m.long = long; long {
		files++
	}
	return files, err
}

func (m *message) decodeMain(values []string) (err error) {
	if m.key, err = readKey(values[0]); err != nil {
		return err
	}
	if err = m.decodePid(values[1], 0); err != nil {
		return err
	}
	if m.main.Pid == 1 { // our groups are led by what we spawned; 1 is never that
		return fmt.Errorf("pid 1 is nobody's main process")
	}
	start, err := strconv.ParseUint(values[2], 10, 64)
	if err != nil || strconv.FormatUint(start, 10) != values[2] {
		return fmt.Errorf("start time %q is not a number", values[2])
	}
	m.main.Start = start
	return nil
}

func (m *message) decodePid(text string, low uint64) error {
	pid, err := number("pid", text, low, 1<<31-1)
	m.main.Pid = int(pid)
	return err
}

// goodKey: a key is one word of printable ASCII.
func goodKey(key string) bool {
	for _, c := range []byte(key) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return key != "" && len(key) <= maxKey
}

func readKey(key string) (string, error) {
	if !goodKey(key) {
		return "", fmt.Errorf("key %.40q is not a word of at most %d characters", key, maxKey)
	}
	return key, nil
}

// number reads a decimal in its one canonical form: no sign, no leading zero.
func number(what, text string, low, high uint64) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, fmt.Errorf("%s %q is not a number", what, text)
	}
	if n < low || n > high {
		return 0, fmt.Errorf("%s %d is not between %d and %d", what, n, low, high)
	}
	return int64(n), nil
}

// greeting is the welcome's note.
type greeting struct {
	before    string // how the daemon before this one ended
	elsewhere bool   // its children have not fallen to the keeper
	refused   string // why the binary of an update was given up
	room      int    // the descriptor that makes room in the daemon's table; 0: none
	leases    bool   // it knows the verb until
}

func (g greeting) encode() []byte {
	var b []byte
	line := func(name, value string) {
		if value != "" {
			b = fmt.Appendf(b, "%s %s\n", name, strings.ReplaceAll(value, "\n", " "))
		}
	}
	line("before", g.before)
	if g.elsewhere {
		line("children", "elsewhere")
	}
	line("refused", g.refused)
	if g.room > 0 {
		line("room", strconv.Itoa(g.room))
	}
	if g.leases {
		line("leases", "yes")
	}
	return b
}

func decodeGreeting(note []byte) (g greeting) {
	for line := range strings.Lines(string(note)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch name {
		case "before":
			g.before = value
		case "children":
			g.elsewhere = value == "elsewhere"
		case "refused":
			g.refused = value
		case "leases":
			g.leases = value == "yes"
		case "room":
			if n, err := number(name, value, 3, 1<<24); err == nil {
				g.room = int(n)
			}
		}
	}
	return g
}
