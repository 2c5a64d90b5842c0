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

// writeEnvs makes the files of environments, unless they are there.
func (s *store) writeEnvs(envs map[string][]string) error {
	s.files.mu.Lock()
	s.files.needed = envs // none of them is swept away from here on
	s.files.mu.Unlock()
	for name, env := range envs {
		path := filepath.Join(s.home.Env(), name)
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		err := replace(path, encodeEnv(env))
		if errors.Is(err, fs.ErrNotExist) { // somebody has removed the folder
			if err := os.Mkdir(s.home.Env(), 0o700); err != nil {
				return fmt.Errorf("cannot write the environments of apps: %w", err)
			}
			err = replace(path, encodeEnv(env))
		}
		if err != nil {
			return err
		}
		s.files.mu.Lock()
		s.files.fresh = append(s.files.fresh, name)
		s.files.mu.Unlock()
	}
	return nil
}

// syncEnvs makes new files safe from a power cut.
func (s *store) syncEnvs() error {
	s.files.mu.Lock()
	fresh := s.files.fresh
	s.files.fresh = nil
	s.files.mu.Unlock()
	for _, name := range fresh {
		if _, err := s.files.sync(filepath.Join(s.home.Env(), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// sweepEnvs removes the files that no app needs any more. The files' lock is held.
func (s *store) sweepEnvs() {
	names, err := os.ReadDir(s.home.Env())
	if err != nil || len(names) <= len(s.files.written) {
		return
	}
	for _, n := range names {
		_, needed := s.files.needed[n.Name()]
		_, written := s.files.written[n.Name()]
		if !needed && !written && strings.HasSuffix(n.Name(), ".json") {
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
