package watch

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// limit is one of the kernel's. In a container there may be a lower one than the machine's.
type limit struct {
	key   string // as sysctl names it
	value int
}

func lowest(keys ...string) (low limit) {
	for _, key := range keys {
		text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(key, ".", "/"))
		if err != nil {
			continue
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && (low.key == "" || n < low.value) {
			low = limit{key, n}
		}
	}
	if low.key == "" {
		low.key = keys[0]
	}
	return low
}

func watches() limit { return lowest("fs.inotify.max_user_watches", "user.max_inotify_watches") }
func instances() limit {
	return lowest("fs.inotify.max_user_instances", "user.max_inotify_instances")
}

// limits are those of the kernel, as text that changes with them.
func limits() string { return fmt.Sprint(watches(), instances()) }

// isLimit says whether the kernel gives no more watches, or no more users of them.
func isLimit(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.ENOSYS)
}

// remedy says which limit it is, and how it is raised.
func remedy(err error) string {
	l, enough := watches(), 1<<20
	switch {
	case errors.Is(err, syscall.ENOSPC):
	case errors.Is(err, syscall.EMFILE):
		l, enough = instances(), 1<<10
	default:
		return err.Error()
	}
	return fmt.Sprintf("%s=%d is reached. Raise it (sysctl %s=%d, for good in a file of /etc/sysctl.d), or watch less (ignore_watch)", l.key, l.value, l.key, max(enough, 4*l.value))
}
