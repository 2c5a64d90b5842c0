package parent

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The protocol: one packet is one message of the daemon, in words that read well
// under strace. The version comes first, so that a keeper meeting a daemon of
// another version refuses a message instead of guessing what it means.
//
//	1 spawned 4711 1234567 15 5000    pid, start time, signal, grace in ms
//	1 gone 4711
//	1 leaving
const protocolVersion = "1"

// maxPacket is more than any message needs; a longer packet is not a message.
const maxPacket = 128

// maxGrace bounds what the keeper may be told to wait for a group.
const maxGrace = 24 * time.Hour

type kind string

const (
	kindSpawned kind = "spawned"
	kindGone    kind = "gone"
	kindLeaving kind = "leaving"
)

// message is what the daemon tells the keeper. start, sig and grace belong to
// kindSpawned, pid to that and to kindGone.
type message struct {
	kind  kind
	pid   int
	start uint64
	sig   unix.Signal
	grace time.Duration
}

// encode is the packet of a message.
func (m message) encode() []byte {
	head := protocolVersion + " " + string(m.kind)
	switch m.kind {
	case kindSpawned:
		return fmt.Appendf(nil, "%s %d %d %d %d", head, m.pid, m.start, int(m.sig), m.grace.Milliseconds())
	case kindGone:
		return fmt.Appendf(nil, "%s %d", head, m.pid)
	}
	return []byte(head)
}

// decode reads a packet. It accepts only what encode writes: a number that was
// misread here would become a signal to the wrong process.
func decode(packet []byte) (message, error) {
	words := strings.Split(string(packet), " ")
	if words[0] != protocolVersion {
		return message{}, fmt.Errorf("cannot read message %q: version %q, want %s", packet, words[0], protocolVersion)
	}
	m, err := decodeWords(words[1:])
	if err != nil {
		return message{}, fmt.Errorf("cannot read message %q: %w", packet, err)
	}
	return m, nil
}

func decodeWords(words []string) (message, error) {
	if len(words) == 0 {
		return message{}, fmt.Errorf("no verb")
	}
	m := message{kind: kind(words[0])}
	arguments := map[kind]int{kindSpawned: 4, kindGone: 1, kindLeaving: 0}
	want, known := arguments[m.kind]
	if !known {
		return message{}, fmt.Errorf("unknown verb %q", words[0])
	}
	values := words[1:]
	if len(values) != want {
		return message{}, fmt.Errorf("want %d values, got %d", want, len(values))
	}
	if want == 0 {
		return m, nil
	}
	pid, err := number("pid", values[0], 2, 1<<31-1) // 1, 0 and below address other things than one group
	if err != nil {
		return message{}, err
	}
	m.pid = int(pid)
	if want == 1 {
		return m, nil
	}
	return m, m.decodeGroup(values[1:])
}

func (m *message) decodeGroup(values []string) error {
	start, err := number("start time", values[0], 0, 1<<64-1)
	if err != nil {
		return err
	}
	sig, err := number("signal", values[1], 1, 64)
	if err != nil {
		return err
	}
	grace, err := number("grace", values[2], 0, uint64(maxGrace.Milliseconds()))
	if err != nil {
		return err
	}
	m.start, m.sig, m.grace = start, unix.Signal(sig), time.Duration(grace)*time.Millisecond
	return nil
}

// number reads a decimal in its one canonical form: no sign, no leading zero.
func number(what, text string, low, high uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != text {
		return 0, fmt.Errorf("%s %q is not a number", what, text)
	}
	if n < low || n > high {
		return 0, fmt.Errorf("%s %d is not between %d and %d", what, n, low, high)
	}
	return n, nil
}
