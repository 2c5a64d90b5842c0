package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// rotatedFile is one that Trim may remove.
type rotatedFile struct {
	dir   string
	name  string
	stamp string // sorts by time
	size  int64
}

// Trim deletes the oldest rotated files of these logs, plain or compressed, until
// they and the live files take at most total bytes. A live file is never touched.
func Trim(paths []string, total int64) (freed int64, err error) {
	var rotated []rotatedFile
	size := int64(0)
	seen := map[string]bool{}
	for _, path := range paths {
		if !readable(path) {
			continue
		}
		if real := realPath(path); seen[real] {
			continue
		} else {
			seen[real] = true
		}
		path = whereIs(path)
		if fi, err := os.Lstat(path); err == nil && fi.Mode().IsRegular() {
			size += fi.Size()
		}
		for _, f := range rotatedFiles(path) {
			rotated = append(rotated, f)
			size += f.size
		}
	}
	slices.SortStableFunc(rotated, func(a, b rotatedFile) int { return strings.Compare(a.stamp, b.stamp) })
	for _, f := range rotated {
		if size <= total {
			break
		}
		if e := f.remove(); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = e
			continue
		}
		size -= f.size
		freed += f.size
	}
	return freed, err
}

// rotatedFiles are those of one log. While one is being compressed it is there
// twice, and takes the space of both.
func rotatedFiles(path string) (files []rotatedFile) {
	dir := filepath.Dir(path)
	prefix, ext := splitName(path)
	for _, name := range listFolder(dir) {
		if _, ok := stampOf(name, prefix, ext); !ok {
			continue
		}
		full := filepath.Join(dir, name)
		if fi, err := os.Lstat(full); err == nil && fi.Mode().IsRegular() {
			files = append(files, rotatedFile{dir, name, name[len(prefix):][:len(rotatedStamp)], fi.Size()})
		}
	}
	return files
}

func (r rotatedFile) remove() error {
	f, err := openFolder(r.dir, false)
	if err != nil {
		return err
	}
	defer f.close()
	return f.remove(r.name)
}
