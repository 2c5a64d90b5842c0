package watch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ignoredBy says what a .gitignore with some lines says of a path: the last line that is
// about it counts, and what is in an ignored folder is ignored.
func ignoredBy(lines, path string) bool {
	rules := parseRules("", strings.Split(lines, "\n"), nil)
	for at, c := range path + "/" {
		if c != '/' {
			continue
		}
		if verdict := rules.verdict(path[:at], at < len(path)); verdict == ignored {
			return true
		}
	}
	return false
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ lines, ignored, kept string }{
		{"foo", "foo a/foo foo/x", "fo foobar a/foob"},
		{"/foo", "foo foo/x", "a/foo"},
		{"foo/", "foo/x a/foo/x", "foo a/foo"},
		{"a/b", "a/b a/b/c", "x/a/b a/bc"},
		{"*.js", "x.js a/b/.js", "js x.jsx"},
		{"a/*.js", "a/x.js", "a/b/x.js x.js"},
		{"**/b", "b a/b a/c/b", "ab"},
		{"a/**", "a/b a/b/c", "a ab"},
		{"a/**/b", "a/b a/x/b a/x/y/b", "a/x ab a/xb"},
		{"a/**/b/*/c", "a/b/x/c a/b/b/x/c", "a/b/c a/x/b/c"},
		{"/**", "a a/b", ""},
		{"**", "a a/b", ""},
		{"a**b", "ab axxb", "a/b"},
		{"[a-c]x", "ax bx", "dx -x"},
		{"[!a]x", "bx", "ax"},
		{"[]a]x", "]x ax", "bx"},
		{"[[:digit:]_]", "1 _", "a"},
		{"a[", "", "a a["},
		{`\!x`, "!x", "x"},
		{`\#x`, "#x", "x"},
		{"# x", "", "x"},
		{"x  ", "x", ""},
		{"*\n!keep", "a keep/a", "keep"},
		{"*.log\n!important.log", "x.log", "important.log"},
		{"dir/\n!dir/keep", "dir/keep", ""},
		{"", "", "a"},
		{"/", "", "a"},
		{"a\\", "", "a"},
		{"?", "a", "ab"},
		{"a?b", "axb", "a/b ab"},
		{"foo\r", "foo", ""},
	} {
		for _, path := range strings.Fields(test.ignored) {
			if !ignoredBy(test.lines, path) {
				t.Errorf("%q does not ignore %s", test.lines, path)
			}
		}
		for _, path := range strings.Fields(test.kept) {
			if ignoredBy(test.lines, path) {
				t.Errorf("%q ignores %s", test.lines, path)
			}
		}
	}
}

// FuzzPatterns holds the matcher to what git itself says.
func FuzzPatterns(f *testing.F) {
	git, err := exec.LookPath("git")
	if err != nil {
		f.Fatalf("these tests need git: %v", err)
	}
	for _, seed := range [][2]string{
		{"foo", "a/foo"}, {"a/**/b", "a/x/y/b"}, {"*\n!a", "a"}, {"[a-c]*", "bx"}, {"a/\n!a/b", "a/b"}, {"**/x/**", "a/x/b"}, {"a[b/c]d", "abd"},
		{`a\/b`, "a/b"}, {"***/a", "b/a"}, {"[[:alpha:][:digit:]]", "a"}, {"[a-", "a"}, {`[\]]`, "]"}, {"*a*b*c", "xaybzc"}, {"//", "a"}, {"a//b", "a/b"},
		{"/**/", "a/b"}, {"**/", "a/b"}, {"a/*/", "a/b/c"}, {" a ", " a"}, {`a\ `, "a "}, {"[[:x:]]", "x"}, {"[z-a]", "m"}, {"[a-\\c]", "b"}, {"!", "a"}, {"[!]a]", "b"},
	} {
		f.Add(seed[0], seed[1])
	}
	dir := f.TempDir()
	if out, err := exec.Command(git, "init", "-q", dir).CombinedOutput(); err != nil {
		f.Fatalf("git init: %v: %s", err, out)
	}
	f.Fuzz(func(t *testing.T, lines, path string) {
		if !isPlain(path) || strings.Contains(lines, "\x00") || strings.HasPrefix(lines, "\xef\xbb\xbf") || len(lines) > 200 {
			return
		}
		if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(git, "-c", "core.excludesFile=/dev/null", "check-ignore", "-q", "--no-index", "--stdin", "-z")
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(path+"\x00")
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		err := cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code > 1 {
			t.Fatalf("git check-ignore: %v: %s", err, complaint.String())
		}
		if want := err == nil; ignoredBy(lines, path) != want {
			t.Errorf("with %q git says %v of %q", lines, want, path)
		}
	})
}

// isPlain says whether git takes a path as it is.
func isPlain(path string) bool {
	if path == "" || len(path) > 200 || strings.ContainsAny(path, "\x00\n\"\\") {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || len(part) > 100 || part == "." || part == ".." || strings.EqualFold(part, ".git") {
			return false
		}
	}
	return true
}
