package cluster

import (
	"encoding/binary"
	"errors"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// message builds a netlink message as the kernel does.
func message(kind, flags uint16, body []byte) []byte {
	ne := binary.NativeEndian
	b := make([]byte, 16, 16+len(body))
	ne.PutUint32(b, uint32(16+len(body)))
	ne.PutUint16(b[4:], kind)
	ne.PutUint16(b[6:], flags)
	b = append(b, body...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

func attribute(kind uint16, value []byte) []byte {
	ne := binary.NativeEndian
	b := ne.AppendUint16(nil, uint16(4+len(value)))
	b = append(ne.AppendUint16(b, kind), value...)
	return append(b, make([]byte, align(len(b))-len(b))...)
}

func diagBody(inode uint32, attributes ...[]byte) []byte {
	ne := binary.NativeEndian
	b := make([]byte, diagMessage)
	b[0], b[1] = unix.AF_INET, established
	binary.BigEndian.PutUint16(b[4:], 8080)
	ne.PutUint64(b[44:], 99)
	ne.PutUint32(b[56:], 3)
	ne.PutUint32(b[60:], 4)
	ne.PutUint32(b[68:], inode)
	for _, a := range attributes {
		b = append(b, a...)
	}
	return b
}

func tcpInfo() []byte {
	t := unix.TCPInfo{Last_data_sent: 11, Last_data_recv: 12, Last_ack_recv: 13, Bytes_sent: 14, Bytes_received: 15, Segs_out: 20, Data_segs_out: 4}
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&t)), unsafe.Sizeof(t))...)
}

func TestReadDump(t *testing.T) {
	t.Parallel()
	var d dump
	first := append(message(sockDiagByFamily, unix.NLM_F_DUMP_INTR, diagBody(1, attribute(8, []byte{1}), attribute(diagInfo, tcpInfo()))),
		message(sockDiagByFamily, 0, diagBody(2))...)
	last := message(unix.NLMSG_DONE, 0, []byte{0, 0, 0, 0})
	for _, b := range [][]byte{first, last} {
		if err := d.read(b); err != nil {
			t.Fatal(err)
		}
	}
	if !d.done || !d.torn || len(d.found) != 2 {
		t.Fatalf("dump %+v", d)
	}
	want := connection{state: established, port: 8080, cookie: 99, inode: 1, unread: 3, unsent: 4,
		lastSent: 11, lastRecv: 12, lastAck: 13, sent: 14, received: 15, bare: 16}
	copy(want.ends[:], []byte{0x1f, 0x90})
	if d.found[0] != want {
		t.Errorf("connection %+v, want %+v", d.found[0], want)
	}
	if c := d.found[1]; c.inode != 2 || c.received != 0 {
		t.Errorf("connection without figures: %+v", c)
	}
}

func TestReadDumpRefused(t *testing.T) {
	t.Parallel()
	errno := binary.NativeEndian.AppendUint32(nil, ^uint32(unix.ENOENT)+1)
	for _, kind := range []uint16{unix.NLMSG_ERROR, unix.NLMSG_DONE} {
		var d dump
		if err := d.read(message(kind, 0, errno)); !errors.Is(err, unix.ENOENT) {
			t.Errorf("message %d: error %v, want ENOENT", kind, err)
		}
	}
}

func TestReadDumpCutShort(t *testing.T) {
	t.Parallel()
	whole := message(sockDiagByFamily, 0, diagBody(1, attribute(diagInfo, tcpInfo())))
	for n := 1; n < len(whole); n++ {
		var d dump
		if err := d.read(whole[:n]); err == nil {
			t.Fatalf("the first %d bytes of %d were taken for whole", n, len(whole))
		}
	}
	// Attributes that are too long or too short are passed over; figures that are cut
	// short are 0.
	info := tcpInfo()
	var d dump
	bad := attribute(diagInfo, info)
	binary.NativeEndian.PutUint16(bad, uint16(len(bad)+1))
	empty := []byte{0, 0, diagInfo, 0}
	for _, b := range [][]byte{diagBody(1, bad), diagBody(2, empty), diagBody(3, attribute(diagInfo, info[:50]))} {
		if err := d.read(message(sockDiagByFamily, 0, b)); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.found) != 3 || d.found[0].received != 0 || d.found[1].received != 0 || d.found[2].received != 0 || d.found[2].lastSent != 11 {
		t.Errorf("found %+v", d.found)
	}
}

func FuzzReadDump(f *testing.F) {
	f.Add(message(sockDiagByFamily, unix.NLM_F_DUMP_INTR, diagBody(1, attribute(diagInfo, tcpInfo()))))
	f.Add(append(message(sockDiagByFamily, 0, diagBody(2)), message(unix.NLMSG_DONE, 0, []byte{0, 0, 0, 0})...))
	f.Add(message(unix.NLMSG_ERROR, 0, []byte{0xfe, 0xff, 0xff, 0xff}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d dump
		err := d.read(b)
		if most := len(b) / (16 + diagMessage); len(d.found) > most {
			t.Errorf("%d connections in %d bytes", len(d.found), len(b))
		}
		if err == nil && len(b) > 0 && len(b) < 16 {
			t.Error("less than a header was taken for whole")
		}
		for _, c := range d.found {
			_ = DrainOptions{}.withDefaults().ripe(history{}.next(c, true), 0)
		}
	})
}
