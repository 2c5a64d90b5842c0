package parent

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProtocol(t *testing.T) {
	t.Parallel()
	for packet, want := range map[string]message{
		"1 spawned 4711 1234567 15 5000":        {kindSpawned, 4711, 1234567, unix.SIGTERM, 5 * time.Second},
		"1 spawned 2 18446744073709551615 64 0": {kindSpawned, 2, 1<<64 - 1, 64, 0},
		"1 spawned 2147483647 0 1 86400000":     {kindSpawned, 1<<31 - 1, 0, 1, maxGrace},
		"1 gone 4711":                           {kind: kindGone, pid: 4711},
		"1 leaving":                             {kind: kindLeaving},
	} {
		got, err := decode([]byte(packet))
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", packet, got, err)
		}
		if text := string(want.encode()); text != packet {
			t.Errorf("%+v: %q, want %q", want, text, packet)
		}
		if len(packet) > maxPacket {
			t.Errorf("%q is longer than a packet may be", packet)
		}
	}
}

func TestBadMessages(t *testing.T) {
	t.Parallel()
	for packet, want := range map[string]string{
		"":                          `version ""`,
		"2 leaving":                 `version "2", want 1`,
		"1":                         "no verb",
		"1 dance":                   `unknown verb "dance"`,
		"1 leaving now":             "want 0 values, got 1",
		"1 gone":                    "want 1 values, got 0",
		"1 gone 1":                  "pid 1 is not between 2",
		"1 gone 0":                  "pid 0 is not between 2",
		"1 gone -5":                 `pid "-5" is not a number`,
		"1 gone +5":                 `pid "+5" is not a number`,
		"1 gone 05":                 `pid "05" is not a number`,
		"1 gone 2147483648":         "pid 2147483648 is not between",
		"1 spawned 5 6 0 1":         "signal 0 is not between 1 and 64",
		"1 spawned 5 6 65 1":        "signal 65 is not between 1 and 64",
		"1 spawned 5 6 9 86400001":  "grace 86400001 is not between",
		"1 spawned 5 x 9 1":         `start time "x" is not a number`,
		"1  spawned 5 6 9 1":        `unknown verb ""`,
		"1 spawned 5 6 9 1\n":       `grace "1\n" is not a number`,
		"1 spawned 5 6 9 1 leaving": "want 4 values, got 5",
	} {
		if m, err := decode([]byte(packet)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v, want %q", packet, m, err, want)
		}
	}
}

// FuzzDecode: nothing is read that encode would not have written, and nothing that
// could address more than one group.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"1 spawned 4711 1234567 15 5000", "1 gone 4711", "1 leaving", "2 leaving", "1 gone -1"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, err := decode(packet)
		if err != nil {
			return
		}
		if string(m.encode()) != string(packet) {
			t.Errorf("%q reads as %+v, which is %q", packet, m, m.encode())
		}
		if m.kind != kindLeaving && m.pid < 2 {
			t.Errorf("%q addresses pid %d", packet, m.pid)
		}
	})
}
