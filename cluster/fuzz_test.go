package cluster

import (
	"bytes"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzLeft has a host take over what no daemon has left like that: what can't be used is an
// error that names its key, nothing falls over, and no descriptor is lost.
func FuzzLeft(f *testing.F) {
	for _, l := range []struct{ key, note string }{
		{keySlot + "7", `{"seat":1,"standby":true}`}, {keySlot + "x", "{}"}, {keySlot + "18446744073709551615", "{}"}, {keySlot + "7", `{"seat":-5,"asked":9}`},
		{keySocket + "7/1", `{"address":"127.0.0.1:80"}`}, {keySocket + "7/1", `{"address":"[::]:80/only"}`}, {keySocket + "7", `{"address":"127.0.0.1:80"}`}, {keySocket + "7/-1", `{"address":"x"}`},
		{keyTenant + "7/3", `{"ready":true,"bound":[1,1,-4],"served":[99],"calls":[{"id":1,"tid":2,"call":49,"args":[3,4,5]}]}`}, {keyTenant + "7/9223372036854775808", "{}"},
		{keyCommon + "4", `{"App":"web","Given":{"Network":"tcp","Address":"127.0.0.1:80"},"Owner":{"UID":1}}`}, {keyCommon + "4", "[]"},
		{keyGroup + "127.0.0.1:80", `["c/s/7/1","c/s/7/1","c/s/8/2"]`}, {keyGroup + "[::]:80/only", "null"}, {keyGroup + "nowhere", "[]"}, {"c/other/1", "{}"},
	} {
		for files := range uint8(3) {
			f.Add(l.key, []byte(l.note), files)
		}
	}
	f.Fuzz(func(t *testing.T, key string, note []byte, files uint8) {
		h := NewHost(Options{Keep: func(string, []byte, ...int) {}})
		defer h.Close()
		left := []Left{
			{Key: keyGroup + "127.0.0.1:80", Note: []byte(`["c/s/7/1"]`)}, {Key: keySlot + "7", Note: []byte(`{"seat":0}`)},
			{Key: key, Note: note}, {Key: key, Note: note},
		}
		for range files % 3 {
			left[2].Files = append(left[2].Files, aListener(t))
		}
		problems := h.Adopt(left)
		for _, err := range problems {
			if !strings.Contains(err.Error(), "go on with "+key+":") {
				t.Errorf("%v: nothing is wrong with that, but with %q", err, key)
			}
		}
		for _, file := range left[2].Files {
			if _, err := file.Stat(); err == nil {
				t.Error("a descriptor is left open")
			}
		}
		numbers := map[uint64]bool{}
		for _, s := range h.left.slots {
			if numbers[s.id] || s.id > h.last {
				t.Errorf("slot %d is there twice, or is to come (the last is %d)", s.id, h.last)
			}
			numbers[s.id] = true
		}
	})
}

// aListener is a socket that listens somewhere on loopback.
func aListener(t *testing.T) *os.File {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// FuzzProcText reads what stands below /proc, some of which programs write themselves: a
// name may have anything in it.
func FuzzProcText(f *testing.F) {
	for _, s := range []string{
		"7 (a) S 1 7 7 0", "7 (a) b) R\n) Z 4 7", ")", "7 (a", "socket:[123]", "socket:[]", "socket:[99999999999]", "Tgid:\t7\nTgid:\t8\n", "CapEff:\t00000400\n", "Tgid:",
		"Tcp: ActiveOpens PassiveOpens\nTcp: 1 2\n", "Tcp: PassiveOpens\nTcp:\n", "Tcp:\nTcp:\n", "0100007F:1F90", "0000:0", "00000000000000000000000001000000:0050", "\x00\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if state, _, ok := parseStat(text); ok && bytes.IndexByte(text, state) < 0 {
			t.Errorf("%q: state %q", text, state)
		}
		if inode, ok := socketInode(text); !ok && inode != 0 {
			t.Errorf("%q: inode %d", text, inode)
		}
		for _, name := range []string{"Tgid:", "CapEff:"} {
			if value := statusField(text, name); value != nil && !bytes.Contains(text, append([]byte(name), value[:0]...)) || bytes.ContainsAny(value, "\n") {
				t.Errorf("%q: %s %q", text, name, value)
			}
		}
		_ = snmp(text, "Tcp:", "PassiveOpens")
		a, err := parseProcAddress(string(text))
		if err != nil {
			return
		}
		if back, err := parseKey(a.key()); err != nil || back != a {
			t.Errorf("%q is %s, and that is %v (%v)", text, a, back, err)
		}
	})
}

// FuzzGiven has addresses of an app's file opened in thought only: what is taken for one
// has a family that its socket can have.
func FuzzGiven(f *testing.F) {
	for _, s := range []string{"127.0.0.1:80", ":80", "[::]:80", "[fe80::1%lo]:80", "[::ffff:1.2.3.4]:1", "host:80", "1.2.3.4:99999", "", "[", "%:1"} {
		f.Add("tcp", s)
		f.Add("tcp6", s)
	}
	f.Fuzz(func(t *testing.T, network, text string) {
		a, sa, err := Given{Network: network, Address: text}.socket()
		if err != nil {
			return
		}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			if !a.ip.Is4() || sa.Addr != a.ip.As4() || sa.Port != int(a.port) {
				t.Errorf("%q: %v and %v", text, a, sa)
			}
		case *unix.SockaddrInet6:
			if !a.ip.Is6() || sa.Addr != a.ip.As16() || sa.Port != int(a.port) {
				t.Errorf("%q: %v and %v", text, a, sa)
			}
		default:
			t.Errorf("%q: %T", text, sa)
		}
	})
}
