// Release builds what users download: an archive for each architecture with the binary
// and the licences of all that is linked into it, and the sums of the archives. Who builds
// the same sources with the same Go gets the same bytes, wherever and whenever.
package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	version := flag.String("version", "", "what gopm version is to say")
	out := flag.String("o", "dist", "the folder for the archives")
	archs := flag.String("arch", "amd64,arm64", "architectures")
	flag.Parse()
	if err := release(*version, *out, strings.Split(*archs, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// release writes the archives into a folder, and SHA256SUMS beside them.
func release(version, out string, archs []string) error {
	if version == "" || strings.ContainsAny(version, " /\n") {
		return fmt.Errorf("-version %q: want a word", version)
	}
	at, err := builtAt()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "gopm-release")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var sums strings.Builder
	for _, arch := range archs {
		t, binary := tree{".", arch}, filepath.Join(work, "gopm-"+arch)
		if err := t.build(binary, version); err != nil {
			return err
		}
		notices, err := t.thirdParty()
		if err != nil {
			return err
		}
		name := fmt.Sprintf("gopm-%s-linux-%s", version, arch)
		sum, err := pack(filepath.Join(out, name+".tar.gz"), name, at, []entry{
			{"gopm", binary, nil, 0o755}, {"LICENSE", "LICENSE", nil, 0o644}, {"THIRD_PARTY.txt", "", notices, 0o644},
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s.tar.gz\n", sum, name)
	}
	fmt.Print(sums.String())
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// builtAt is the time of all files in the archives: SOURCE_DATE_EPOCH, which make sets to
// that of the last commit.
func builtAt() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		text = "0"
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%s: want seconds since 1970", text)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// entry is one file of an archive.
type entry struct {
	name string
	path string // where its content is; "": in text
	text []byte
	mode int64
}

// pack writes an archive that depends on nothing but what is in it, and returns its sum.
func pack(path, folder string, at time.Time, entries []entry) (sum [sha256.Size]byte, err error) {
	f, err := os.Create(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	z, _ := gzip.NewWriterLevel(f, gzip.BestCompression) // its error is a wrong level
	a := tar.NewWriter(z)
	for _, e := range entries {
		if e.path != "" {
			if e.text, err = os.ReadFile(e.path); err != nil {
				return sum, err
			}
		}
		head := &tar.Header{Typeflag: tar.TypeReg, Name: folder + "/" + e.name, Size: int64(len(e.text)), Mode: e.mode, ModTime: at, Format: tar.FormatUSTAR}
		if err := a.WriteHeader(head); err != nil {
			return sum, err
		}
		if _, err := a.Write(e.text); err != nil {
			return sum, err
		}
	}
	if err := a.Close(); err != nil {
		return sum, err
	}
	if err := z.Close(); err != nil {
		return sum, err
	}
	if err := f.Close(); err != nil {
		return sum, err
	}
	whole, err := os.ReadFile(path)
	return sha256.Sum256(whole), err
}
