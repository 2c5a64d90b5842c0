package logs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// rotatedStamp is between a log's name and its extension, as the library lumberjack has it.
	rotatedStamp = "2006-01-02T15-04-05.000"
	// packedExt is what a compressed file's name has more.
	packedExt = ".gz"
)

// splitName is what surrounds the stamp in the names of a log's rotated files.
func splitName(path string) (prefix, ext string) {
	base := filepath.Base(path)
	ext = filepath.Ext(base)
	return strings.TrimSuffix(base, ext) + "-", ext
}

// stampOf is the time in a rotated file's name, compressed or not.
func stampOf(name, prefix, ext string) (time.Time, bool) {
	if len(name) == len(prefix)+len(rotatedStamp)+len(ext)+len(packedExt) {
		ext += packedExt
	}
	if len(name) != len(prefix)+len(rotatedStamp)+len(ext) ||
		!strings.HasPrefix(name, prefix) || !strings.HasSuffix(name, ext) {
		return time.Time{}, false
	}
	text := name[len(prefix) : len(name)-len(ext)]
	t, err := time.Parse(rotatedStamp, text)
	if err != nil || t.Format(rotatedStamp) != text { // package time takes a comma for the point: it is another's file
		return time.Time{}, false
	}
	return t, true
}

// rotatedNames picks the rotated files of a log, oldest first, from a sorted folder
// listing. A file that is there both plain and compressed is being compressed: the
// plain one is whole.
func rotatedNames(listing []string, path string) []string {
	prefix, ext := splitName(path)
	i, _ := slices.BinarySearch(listing, prefix)
	var names []string
	for ; i < len(listing) && strings.HasPrefix(listing[i], prefix); i++ {
		name := listing[i]
		if _, ok := stampOf(name, prefix, ext); !ok {
			continue
		}
		if n := len(names); n > 0 && names[n-1]+packedExt == name {
			continue // sorted: the plain one came first
		}
		names = append(names, name)
	}
	return names
}

// packedName says that a rotated file's name is that of a compressed one. It goes by
// the length, because a log itself may be called something.gz.
func packedName(name, path string) bool {
	prefix, ext := splitName(path)
	return len(name) == len(prefix)+len(rotatedStamp)+len(ext)+len(packedExt)
}

// plainName is a rotated file's name without the compression.
func plainName(name, path string) string {
	if packedName(name, path) {
		return name[:len(name)-len(packedExt)]
	}
	return name
}

// listFolder is the sorted list of names in a folder; none if it can't be read.
func listFolder(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	slices.Sort(names)
	return names
}
