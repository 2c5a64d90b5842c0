package cmd

import "testing"

func TestMask(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, value, want string }{
		{"API_TOKEN", "a", masked},
		{"apiToken", "a", masked},
		{"STRIPE_KEY", "a", masked},
		{"AWS_ACCESS_KEY_ID", "a", masked},
		{"SSH_KEYS", "a", masked},
		{"KEYBOARD", "de", "de"},
		{"KEY", "a", masked},
		{"PGPASSWORD", "a", masked},
		{"DB_PASS", "a", masked},
		{"MYSQL_PWD", "a", masked},
		{"PWD", "/home", "/home"},
		{"OLDPWD", "/home", "/home"},
		{"SENTRY_DSN", "https://abc@sentry.io/1", masked},
		{"AUTHOR", "me", "me"},
		{"BASIC_AUTH", "me", masked},
		{"SECRET", "", ""},
		{"PORT", "3000", "3000"},
		{"URL", "http://h/p", "http://h/p"},
		{"URL", "http://me@h/p", "http://me@h/p"},
		{"URL", "redis://:pw@h:6379/0", "redis://:" + masked + "@h:6379/0"},
		{"URL", "postgres://u:p@ss@h/db", "postgres://u:" + masked + "@h/db"},
		{"URL", "postgres://u:p%zz@h/db", masked},
		{"MAIL", "me@example.com", "me@example.com"},
		{"CERT", "-----BEGIN RSA PRIVATE KEY-----\nx", masked},
		{"CONN", "Server=h;User Id=u;Password=p;", masked},
	}
	for _, tt := range tests {
		if got := mask(tt.name, tt.value); got != tt.want {
			t.Errorf("mask(%s, %s) = %s, want %s", tt.name, tt.value, got, tt.want)
		}
	}
}
