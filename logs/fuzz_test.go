package logs

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzStamps: a time that is written before a line is read again as it was, or not at all;
// and the line is what the program wrote. Anything else that a program writes is no time of
// ours, and no reason to fall over.
func FuzzStamps(f *testing.F) {
	for _, layout := range []string{"", "YYYY-MM-DD HH:mm:ss.SSS Z", "YY.MM.DD HH:mm", "[2006] YYYY-MM-DDTHH:mm:ss,SSS ZZ", "x", "X: YYYY", "HH:mm", "MMMM D, YYYY h:mm A", "[Z]YYYYMMDDHHmm", "YYYY: MM: DD HH:mm: ", "\xff[\n]"} {
		f.Add(layout, "a line", int64(1_772_694_489_045), false)
		f.Add(layout, `{"message":"x","timestamp":"2026-03-05T06:08:09.045Z"}`, int64(-1), true)
	}
	f.Add("YYYY-MM-DD HH:mm", "2026-13-45 99:99: x", int64(1)<<62, false)
	f.Fuzz(func(t *testing.T, layout, text string, ms int64, isJSON bool) {
		if strings.ContainsAny(text, "\n") {
			return // a line is a line
		}
		at := time.UnixMilli(ms % 253_402_300_800_000) // the years that RFC 3339 can say
		format := Format{Layout: layout, JSON: isJSON, App: "web"}
		if !isJSON && layout == "" {
			format.JSON = true
		}
		line := newFormatter(format).line(nil, []byte(text), at, false)
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("%q is no line: %q", text, line)
		}
		line = line[:len(line)-1]
		reader := newStampReader(layout)
		read, unit, ok := reader.read(line)
		if ok && unit <= 0 {
			t.Errorf("%q: a multiple of %v", line, unit)
		}
		usual := layout == "YYYY-MM-DD HH:mm:ss.SSS Z" || layout == "" && format.JSON
		if usual && at.Year() > 0 && (!ok || !read.Equal(at.Truncate(unit))) {
			t.Errorf("%q says %v (%v), not %v", line, read, ok, at)
		}
		if got := format.bare(line); format.JSON && string(got) != strings.ToValidUTF8(text, "\ufffd") && !strings.Contains(text, "\ufffd") && len(bytes.ToValidUTF8([]byte(text), nil)) == len(text) || usual && !format.JSON && string(got) != text {
			t.Errorf("%q was written as %q, and that is %q", text, line, got)
		}
		for _, other := range []Format{format, {JSON: true}, {Layout: layout}} { // what the program writes may look like ours
			if got := other.bare([]byte(text)); len(got) > 3*len(text) {
				t.Errorf("%q became %q", text, got)
			}
		}
	})
}

// FuzzEar: whatever the pieces in which a program writes, the lines are heard, whole and once.
func FuzzEar(f *testing.F) {
	f.Add([]byte("a\nb\r\n\nc"), uint16(2), uint16(0))
	f.Add([]byte("\n\r\n\r"), uint16(1), uint16(0))
	f.Add([]byte("x"), uint16(7), uint16(65_000))
	f.Fuzz(func(t *testing.T, data []byte, piece, repeat uint16) {
		if len(data) > 0 {
			data = append(bytes.Repeat(data[:1], 3*int(repeat)), data...)
		}
		var got []string
		e := &Ear{hear: func(line []byte) bool {
			got = append(got, string(line))
			return false
		}}
		for rest := range slices.Chunk(data, int(piece)+1) {
			e.tell(rest)
		}
		held := len(e.part)
		e.Close()
		var want []string
		whole := data[:bytes.LastIndexByte(data, '\n')+1]
		for line := range bytes.Lines(whole) {
			want = append(want, string(bytes.TrimSuffix(line, []byte("\n"))))
		}
		if held > maxLine {
			t.Errorf("%d bytes are held", held)
		}
		short := len(data) <= maxLine
		for i, line := range want {
			want[i] = strings.TrimSuffix(line, "\r")
		}
		if short && !slices.Equal(got, want) {
			t.Errorf("%q: heard %q, want %q", data, got, want)
		}
		if strings.Join(got, "") != strings.Join(want, "") && !bytes.Contains(data, []byte("\r")) && len(data)-len(whole) <= maxLine {
			t.Errorf("%d bytes in %d lines became %d in %d", len(strings.Join(want, "")), len(want), len(strings.Join(got, "")), len(got))
		}
	})
}

// FuzzMark: a place in a log is read as it was written, and nothing else is one.
func FuzzMark(f *testing.F) {
	for _, s := range []string{"7:8:9", "0:0:0", "7:8", "7:8:9x", "-1:0:0", "7:-8:-9", " 7:8:9", "+7:8:9", "18446744073709551615:9223372036854775807:0", "7:8:9:10", "\n7:8:9", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := MarkOf(text)
		switch {
		case err != nil && m != Mark{}:
			t.Errorf("%q: half a place: %+v", text, m)
		case err == nil && m.Text() != text:
			t.Errorf("%q is taken for %q", text, m.Text())
		case err == nil && (m.Offset < 0 || m.Ahead < 0):
			t.Errorf("%q is nowhere", text)
		}
	})
}

// FuzzRotatedNames picks the files of a log out of a folder where anything may lie.
func FuzzRotatedNames(f *testing.F) {
	const stamp = "2026-11-22T12-00-00.000"
	for _, path := range []string{"web.log", "web", ".log", "web.gz", "/a/b.c.log", "", "/", "web-" + stamp + ".log"} {
		f.Add(path, "web-"+stamp+".log\nweb-"+stamp+".log.gz\nweb-"+stamp+".gz.gz\n-"+stamp+".log\n.log-"+stamp+"\nweb-"+stamp+"\nweb-2026.log\nweb-"+stamp+".log.gz.tmp")
	}
	f.Fuzz(func(t *testing.T, path, folder string) {
		listing := strings.Split(folder, "\n")
		slices.Sort(listing)
		listing = slices.Compact(listing)
		prefix, ext := splitName(path)
		names := rotatedNames(listing, path)
		for i, name := range names {
			at, ok := stampOf(name, prefix, ext)
			if !ok || !slices.Contains(listing, name) {
				t.Errorf("%q: %q is none of its files", path, name)
			}
			if plain := plainName(name, path); plain != prefix+at.Format(rotatedStamp)+ext || packedName(name, path) != (name != plain) {
				t.Errorf("%q: %q is %q of %v", path, name, plain, at)
			}
			if i > 0 && names[i-1] >= name {
				t.Errorf("%q: %q comes after %q", path, name, names[i-1])
			}
		}
		_ = leftUnpacked(listing, path)
	})
}

// FuzzClock: whatever the index says that a daemon sends, the times of lines stay within
// those of their file.
func FuzzClock(f *testing.F) {
	f.Add([]byte(`[{"inode":7,"offset":5,"time":"2026-11-22T12:00:01Z"},{"inode":7,"offset":50,"time":"2026-11-22T12:00:02Z"},{"inode":8,"offset":1,"time":"2026-11-22T13:00:00Z"}]`), int64(100), int64(20))
	f.Add([]byte(`[{"inode":7,"offset":-5,"time":"0001-01-01T00:00:00Z"},{"inode":7,"offset":9223372036854775807,"time":"9999-12-31T23:59:59Z"}]`), int64(0), int64(-1))
	f.Add([]byte(`null`), int64(9223372036854775807), int64(9223372036854775807))
	f.Fuzz(func(t *testing.T, text []byte, size, end int64) {
		s := Source{Layout: "YYYY-MM-DD HH:mm:ss.SSS Z"}
		if json.Unmarshal(text, &s.Index) != nil {
			return
		}
		first, last := noon, noon.Add(time.Hour)
		for _, e := range s.Index {
			if e.Time.Before(first) {
				first = e.Time
			}
			if e.Time.After(last) {
				last = e.Time
			}
		}
		c := newClock(&s, 7, size, noon, noon.Add(time.Hour))
		if at := c.at(end); at.Before(first) || at.After(last) {
			t.Errorf("%s: at %d of %d it is %v", text, end, size, at)
		}
	})
}

// FuzzPacked looks for lines in a rotated file that says it is a compressed one: it shows
// what is whole, or says that the file is damaged.
func FuzzPacked(f *testing.F) {
	dir := f.TempDir()
	for _, text := range []string{"", "a\nb\n", strings.Repeat("long ", 20_000) + "\nx"} {
		path := filepath.Join(dir, "x"+packedExt)
		putAt(f, path, text, noon)
		whole, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole)
		f.Add(whole[:len(whole)/2])
		f.Add(append(whole, "trailing"...))
		f.Add(append(slices.Clone(whole), whole...))
	}
	f.Add([]byte("\x1f\x8b\x08\x1f\x00\x00\x00\x00\x00\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		path := filepath.Join(t.TempDir(), "web.log")
		file := rotatedName(path, noon) + packedExt
		if err := os.WriteFile(file, packed, 0o600); err != nil {
			t.Fatal(err)
		}
		put(t, path, "newest\n")
		for _, last := range []int{-1, 2} {
			lines, _, troubles := find(t, []Source{{Path: path}}, Query{Last: last})
			got := texts(lines)
			if len(got) == 0 || got[len(got)-1] != "newest" {
				t.Errorf("what isn't damaged is missing: %q, %v", got, troubles)
			}
			for _, err := range troubles {
				if !strings.Contains(err.Error(), filepath.Base(file)) {
					t.Errorf("an error that names no file: %v", err)
				}
			}
			if z, err := gzip.NewReader(bytes.NewReader(packed)); last < 0 && len(troubles) == 0 && err == nil {
				if text, err := io.ReadAll(io.LimitReader(z, 1<<20)); err != nil || len(text) < 1<<20 && !strings.HasPrefix(strings.Join(got, ""), strings.ReplaceAll(string(text), "\n", "")) {
					t.Errorf("%d bytes are shown as %q: %v", len(text), got, err)
				}
			}
		}
	})
}
