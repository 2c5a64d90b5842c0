package ecosystem

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Masked takes the place of a secret; its length says nothing about the secret's.
const Masked = "********"

// Veil hides what is secret of an app wherever gopm shows something of it. A value is a
// secret when
//   - its variable's name is one of the app's `secrets`, has one of the parts TOKEN, SECRET,
//     PASS, CREDENTIAL, PRIVATE, or a word (between _ . -) that is AUTH, AUTHORIZATION, DSN,
//     PWD, PW, SALT or COOKIE or ends with KEY or KEYS, in either case; PWD and OLDPWD alone
//     are folders;
//   - or it is itself a private key, or a connection string with a password.
//
// Of a URL with a password in it only the password is hidden. The zero Veil knows no app.
type Veil struct {
	names  []string // of variables, besides those whose names say so
	values []string // found to be secret: hidden in other texts, too
}

// Hiding is a Veil that knows the names in an app's `secrets`.
func Hiding(names []string) Veil { return Veil{names: names} }

// leastSecret is the length from which a value is looked for in other texts: "1" is in many.
const leastSecret = 6

// Veil is that of the app.
func (a App) Veil() Veil {
	v := Veil{names: a.Env.Secrets}
	for name, value := range a.Env.Vars {
		if v.Var(name, value) == Masked && len(value) >= leastSecret {
			v.values = append(v.values, value)
		}
	}
	slices.SortFunc(v.values, func(a, b string) int { return len(b) - len(a) }) // one may begin with another
	return v
}

// Var is the value of a variable as it is shown.
func (v Veil) Var(name, value string) string {
	switch {
	case value == "":
		return value
	case slices.Contains(v.names, name), secretName(name), secretValue(value):
		return Masked
	}
	return MaskURL(value)
}

// Vars is a copy of variables with the secrets hidden.
func (v Veil) Vars(vars map[string]string) map[string]string {
	hidden := maps.Clone(vars)
	for name, value := range hidden {
		hidden[name] = v.Var(name, value)
	}
	return hidden
}

func secretName(name string) bool {
	name = strings.ToUpper(name)
	if name == "PWD" || name == "OLDPWD" {
		return false
	}
	for _, part := range []string{"TOKEN", "SECRET", "PASS", "CREDENTIAL", "PRIVATE"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == '.' || r == '-' }) {
		switch word {
		case "AUTH", "AUTHORIZATION", "DSN", "PWD", "PW", "SALT", "COOKIE":
			return true
		}
		if strings.HasSuffix(word, "KEY") || strings.HasSuffix(word, "KEYS") {
			return true
		}
	}
	return false
}

func secretValue(value string) bool {
	low := strings.ToLower(value)
	return strings.Contains(low, "private key-----") || strings.Contains(low, "password=") || strings.Contains(low, "pwd=")
}

// MaskURL hides the password of scheme://user:password@host.
func MaskURL(value string) string {
	if !strings.Contains(value, "://") || !strings.Contains(value, "@") {
		return value
	}
	u, err := url.Parse(value)
	if err != nil {
		return Masked // a password with odd characters, unescaped: better too much
	}
	if u.User == nil {
		return value
	}
	if _, has := u.User.Password(); !has {
		return value
	}
	before, rest, _ := strings.Cut(value, "://")
	at := strings.LastIndex(rest, "@") // a password may have one in it
	user, _, _ := strings.Cut(rest[:at], ":")
	return before + "://" + user + ":" + Masked + rest[at:]
}

// patterns are what a secret looks like within a text; compiled when first needed.
var patterns = sync.OnceValue(func() (p struct{ url, named, user, bearer *regexp.Regexp }) {
	p.url = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"']*):[^\s/"']+@`)
	p.named = regexp.MustCompile(`([A-Za-z0-9_.-]+)(["']?[=:] ?["']?| )`)
	p.user = regexp.MustCompile(`((?:^|\s)(?:-u|--user)[ =]?["']?[^\s:"']+):[^\s"']+`)
	p.bearer = regexp.MustCompile(`(?i)\b(bearer|basic) [A-Za-z0-9._~+/=-]+`)
	return p
})

// Text hides what looks like a secret in a text: a command line, a message.
func (v Veil) Text(text string) string {
	for _, value := range v.values {
		text = strings.ReplaceAll(text, value, Masked)
	}
	if !strings.ContainsAny(text, "=:-") {
		return text // most are
	}
	p := patterns()
	text = p.url.ReplaceAllString(text, "${1}:"+Masked+"@")
	text = p.bearer.ReplaceAllString(text, "${1} "+Masked)
	text = p.user.ReplaceAllString(text, "${1}:"+Masked)
	var b strings.Builder
	done := 0
	for _, m := range p.named.FindAllStringSubmatchIndex(text, -1) {
		name, sign := text[m[2]:m[3]], text[m[4]:m[5]]
		if m[0] < done || sign == " " && !strings.HasPrefix(name, "--") || !secretName(name) && !slices.Contains(v.names, name) {
			continue
		}
		end := m[1] + valueEnd(text[m[1]:], sign)
		if end == m[1] {
			continue
		}
		b.WriteString(text[done:m[1]])
		b.WriteString(Masked)
		done = end
	}
	b.WriteString(text[done:])
	return b.String()
}

// valueEnd is where a value ends: at the quote that opened it, else at a blank or the like.
func valueEnd(text, sign string) int {
	ends := " \t\r\n\"',;&"
	if q := sign[len(sign)-1]; q == '"' || q == '\'' {
		ends = string(q)
	}
	if end := strings.IndexAny(text, ends); end >= 0 {
		return end
	}
	return len(text)
}

// Words is a copy of arguments with the secrets hidden; an option may have its value in the
// next.
func (v Veil) Words(words []string) []string {
	hidden := slices.Clone(words)
	for i, word := range words {
		hidden[i] = v.Text(word)
		if i > 0 && !strings.HasPrefix(word, "-") && strings.HasPrefix(words[i-1], "--") && !strings.Contains(words[i-1], "=") && secretName(words[i-1]) {
			hidden[i] = Masked
		}
		if i > 0 && (words[i-1] == "-u" || words[i-1] == "--user") {
			hidden[i] = strings.TrimPrefix(v.Text("-u "+word), "-u ")
		}
	}
	return hidden
}

// Masked is the app with its secrets hidden, to be shown.
func (a App) Masked() App {
	v := a.Veil()
	a.Env.Vars = v.Vars(a.Env.Vars)
	a.Command.Script = v.Text(a.Command.Script)
	a.Command.Args, a.Command.InterpreterArgs = v.Words(a.Command.Args), v.Words(a.Command.InterpreterArgs)
	for _, h := range []*Hook{&a.Hooks.PreStart, &a.Hooks.PostStart, &a.Hooks.PreStop, &a.Hooks.OnErrored, &a.Standby.Promote, &a.Standby.Demote, &a.Health.HTTP} {
		*h = v.hook(*h)
	}
	a.Health.Exec = v.Text(a.Health.Exec)
	return a
}

// hook hides what a request is sent besides its address.
func (v Veil) hook(h Hook) Hook {
	h.Exec, h.URL = v.Text(h.Exec), v.Text(MaskURL(h.URL))
	if h.Body != "" {
		h.Body = Masked
	}
	h.Headers = maps.Clone(h.Headers)
	for name := range h.Headers {
		h.Headers[name] = Masked
	}
	return h
}
