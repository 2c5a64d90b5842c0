package daemon

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What apps have inherited from their user's shell is kept in env/, apart from the
// state that people look at: it has their secrets. A file is named by its content, so
// apps started from one shell share it, and it never changes.

// envName is the name of an environment's file.
func envName(env []string) string {
	h := sha256.New()
	for _, entry := range env {
		h.Write([]byte(entry))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8]) + ".json"
}

func encodeEnv(env []string) []byte {
	if env == nil {
		env = []string{}
	}
	text, _ := json.MarshalIndent(env, "", " ") // strings can always be encoded
	return append(text, '\n')
}

// writeEnv makes the file of an environment, unless it is there.
func (s *store) writeEnv(name string, env []string) error {
	path := filepath.Join(s.home.Env(), name)
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	f, err := replace(path, encodeEnv(env))
	if errors.Is(err, fs.ErrNotExist) { // somebody has removed the folder
		if err := os.Mkdir(s.home.Env(), 0o700); err != nil {
			return fmt.Errorf("cannot write the environments of apps: %w", err)
		}
		f, err = replace(path, encodeEnv(env))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// sweepEnvs removes the files that no app needs any more.
func (s *store) sweepEnvs(needed map[string][]string) {
	names, err := os.ReadDir(s.home.Env())
	if err != nil || len(names) <= len(needed) {
		return
	}
	for _, n := range names {
		if _, is := needed[n.Name()]; !is && strings.HasSuffix(n.Name(), ".json") {
			os.Remove(filepath.Join(s.home.Env(), n.Name())) // if it stays, it is tried again
		}
	}
}

// readEnv is an environment as the keeper or the disk has it.
func readEnv(dir, name string, kept map[string][]byte) (env []string, err error) {
	text, is := kept[name]
	if !is {
		if text, err = os.ReadFile(filepath.Join(dir, filepath.Base(name))); err != nil {
			return nil, err
		}
	}
	if err := json.Unmarshal(text, &env); err != nil {
		return nil, fmt.Errorf("%s: %v", filepath.Join(dir, name), err)
	}
	return env, nil
}
