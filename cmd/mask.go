package cmd

import (
	"net/url"
	"strings"
)

// masked takes the place of a secret; its length says nothing about the secret's.
const masked = "********"

// mask is the rule by which values are hidden, in `env` without --show and in
// `info --json`. A value is a secret when
//   - its variable's name has one of the parts TOKEN, SECRET, PASS, CREDENTIAL,
//     PRIVATE, or a word (between _ . -) that is AUTH, DSN, PWD, PW, SALT or COOKIE
//     or ends with KEY or KEYS, in either case; PWD and OLDPWD alone are folders;
//   - or it is itself a private key, or a connection string with a password.
//
// Of a URL with a password in it only the password is hidden.
func mask(name, value string) string {
	switch {
	case value == "":
		return value
	case secretName(name), secretValue(value):
		return masked
	}
	return maskURL(value)
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
		case "AUTH", "DSN", "PWD", "PW", "SALT", "COOKIE":
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

// maskURL hides the password of scheme://user:password@host.
func maskURL(value string) string {
	if !strings.Contains(value, "://") || !strings.Contains(value, "@") {
		return value
	}
	u, err := url.Parse(value)
	if err != nil {
		return masked // a password with odd characters, unescaped: better too much
	}
	if u.User == nil {
		return value
	}
	if _, has := u.User.Password(); !has {
		return value
	}
	before, rest, _ := strings.Cut(value, "://")
	credentials, host, _ := cutLast(rest, "@")
	user, _, _ := strings.Cut(credentials, ":")
	return before + "://" + user + ":" + masked + "@" + host
}

// cutLast is strings.Cut at the last separator: a password may have one in it.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// maskAll is a copy of variables with the secrets hidden.
func maskAll(vars map[string]string) map[string]string {
	if vars == nil {
		return nil
	}
	hidden := make(map[string]string, len(vars))
	for name, value := range vars {
		hidden[name] = mask(name, value)
	}
	return hidden
}
