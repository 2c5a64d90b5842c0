package api

import "fmt"

// Kind classifies an error for programs; the message is for people.
type Kind string

const (
	KindInvalid   Kind = "invalid"   // the request makes no sense
	KindNotFound  Kind = "not-found" // no such app, id or route
	KindConflict  Kind = "conflict"  // a name belongs to another file
	KindStopping  Kind = "stopping"  // the daemon is ending
	KindAgain     Kind = "again"     // nothing was done; the next daemon, which is about to answer, can be asked
	KindBusy      Kind = "busy"      // there are too many of this already, or one that must end first
	KindForbidden Kind = "forbidden" // it is another user's daemon
	KindInternal  Kind = "internal"
)

// Error is an error as it travels.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Errorf makes an Error.
func Errorf(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Status is the HTTP status of an error kind.
func (k Kind) Status() int {
	switch k {
	case KindInvalid:
		return 400
	case KindForbidden:
		return 403
	case KindNotFound:
		return 404
	case KindConflict:
		return 409
	case KindStopping, KindBusy, KindAgain:
		return 503
	}
	return 500
}

// NoDaemonError says that nothing answers at the socket.
type NoDaemonError struct {
	Home string
	Why  error
}

func (e *NoDaemonError) Error() string {
	return fmt.Sprintf("daemon not running (home %s)", e.Home)
}

func (e *NoDaemonError) Unwrap() error { return e.Why }
