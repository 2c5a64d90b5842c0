package cmd

import (
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The words of the tables are the names and aliases of the commands, and no word is
// there twice.
func TestWordsOfCommands(t *testing.T) {
	t.Parallel()
	c := &cli{out: io.Discard, err: io.Discard}
	seen := map[string]bool{}
	take := func(words string) {
		for _, w := range strings.Fields(words) {
			if seen[w] {
				t.Errorf("%s is there twice", w)
			}
			seen[w] = true
		}
	}
	for _, m := range makers {
		take(m.words)
		cmd := m.command(c)
		if want := append([]string{cmd.Name()}, cmd.Aliases...); !slices.Equal(strings.Fields(m.words), want) {
			t.Errorf("the table says %q, the command %q", m.words, want)
		}
		for _, word := range strings.Fields(m.words) {
			if made := c.commands([]string{"-s", word}); len(made) != 1 || made[0].Name() != cmd.Name() {
				t.Errorf("%s makes %d commands", word, len(made))
			}
			if callsList([]string{word}) != (cmd.Name() == "list") {
				t.Errorf("callsList does not know what %s is", word)
			}
		}
	}
	for _, a := range absentCommands {
		take(a.words)
		if a.why == "" || a.instead == "" {
			t.Errorf("%s: want a reason and what to do instead", a.words)
		}
	}
}

// docs/from-pm2.md has every command that is left out, docs/commands.md every one
// that is there.
func TestCommandsAreInTheDocs(t *testing.T) {
	t.Parallel()
	for file, all := range map[string][]string{"../docs/from-pm2.md": absentWords(), "../docs/commands.md": madeWords()} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, words := range all {
			for word := range strings.FieldsSeq(words) {
				if !regexp.MustCompile("[`(]([a-zA-Z, ]* )?" + regexp.QuoteMeta(word) + "[` ]").Match(text) {
					t.Errorf("%s does not mention %s", file, word)
				}
			}
		}
	}
}

func absentWords() (all []string) {
	for _, a := range absentCommands {
		all = append(all, a.words)
	}
	return all
}

func madeWords() (all []string) {
	for _, m := range makers {
		all = append(all, m.words)
	}
	return all
}
