package api

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// LockRequest asks for a lock of Consul, for a command that the asker runs while it has
// the lock. What it is answered is a stream of LockPart, and the asker holds the lock only
// as long as it reads that. Asked again with what it had, it goes on.
type LockRequest struct {
	ID     string            `json:"id"`   // a word of its own; the command has LockMarker of it in its environment
	Name   string            `json:"name"` // the key
	TTL    time.Duration     `json:"ttl_ns"`
	Wait   time.Duration     `json:"wait_ns"`
	Agent  map[string]string `json:"agent,omitempty"` // the variables by which Consul's tools find the agent
	Holder string            `json:"holder"`          // who asks, for those who wait
	Left   *LockLeft         `json:"left,omitempty"`
	Pid    int               `json:"pid,omitempty"` // of the command, if it runs already
}

// LockMarker is the entry of the environment by which all that a command starts is known.
// A command may be under several locks.
func LockMarker(id string) string { return "GOPM_LOCK_" + id + "=1" }

// LockLeft is what a daemon has to know that goes on with a lock.
type LockLeft struct {
	Session string        `json:"session"`
	Fence   uint64        `json:"fence"`
	Until   time.Duration `json:"until_ns"` // CLOCK_BOOTTIME: who runs the command has it dead by then
}

// LockPart is one piece of news of a lock.
type LockPart struct {
	Waiting string    `json:"waiting,omitempty"` // who has it, or why it can't be had now
	Held    *LockLeft `json:"held,omitempty"`    // it is the asker's, until then
	Lost    string    `json:"lost,omitempty"`    // it isn't any more, and the command is dead
	Refused *Error    `json:"refused,omitempty"` // and won't be
}

// LockUse tells of the command: that it runs, or has ended. Then the answer comes when
// nothing is left of it and the lock is free.
type LockUse struct {
	ID   string `json:"id"`
	Pid  int    `json:"pid,omitempty"`
	Done bool   `json:"done,omitempty"`
}

// LockFreed answers a LockUse that is done.
type LockFreed struct {
	Ended int `json:"ended,omitempty"` // processes that the command had left
}

// Lock asks for a lock and calls each for all news of it. A daemon that takes the place of
// the one that was asked is asked in its turn: ask says what is to go on.
func (c *Client) Lock(ctx context.Context, ask func() LockRequest, each func(LockPart) error) error {
	const pause = 20 * time.Millisecond
	for misses := 0; ; misses++ {
		answered, err := c.lockOnce(ctx, ask(), each)
		if answered {
			misses = 0
		}
		var answer *Error
		again := errors.Is(err, errCut) && misses < patience || errors.As(err, &answer) && answer.Kind == KindAgain
		if !again {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (c *Client) lockOnce(ctx context.Context, req LockRequest, each func(LockPart) error) (answered bool, err error) {
	body, err := c.do(ctx, http.MethodPost, PathLock, nil, req)
	if err != nil {
		return false, err
	}
	defer body.Close()
	err = readParts(ctx, body, func(p LockPart) error {
		answered = true
		return each(p)
	})
	if err == nil {
		err = ErrStreamEnded
	}
	return answered, err
}
