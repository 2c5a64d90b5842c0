package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Instances is the process list. It comes in parts, so that the first are decoded
// while the daemon measures the next.
func (c *Client) Instances(ctx context.Context, query url.Values) (all []Instance, err error) {
	err = c.insist(func() error {
		all = nil // half a list is none
		return readStream(ctx, c, PathInstances, query, func(part []Instance) error {
			all = append(all, part...)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Stream calls each for every object of a stream that has no end of its own, until
// the daemon ends it, each returns an error (which Stream returns), or ctx ends. When
// the daemon is replaced its successor is asked: first says that an object is the
// first of an answer, which is the present state, whatever came before.
func Stream[T any](ctx context.Context, c *Client, path string, query url.Values, each func(v T, first bool) error) error {
	begun := false
	for {
		err := c.insist(func() error {
			first := true
			err := readStream(ctx, c, path, query, func(v T) error {
				defer func() { first, begun = false, true }()
				return each(v, first)
			})
			if errors.Is(err, errCut) && !first {
				return nil // it did answer: ask on, as often as that happens
			}
			return cmp.Or(err, ErrStreamEnded)
		})
		var none *NoDaemonError
		switch {
		case begun && errors.As(err, &none):
			return ErrStreamEnded
		case err != nil:
			return err
		}
	}
}

// readStream returns nil where the stream has come to its proper end, and errCut
// where it was cut off.
func readStream[T any](ctx context.Context, c *Client, path string, query url.Values, each func(T) error) error {
	body, err := c.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return readParts(ctx, body, each)
}

func readParts[T any](ctx context.Context, body io.Reader, each func(T) error) error {
	dec := json.NewDecoder(body)
	for {
		var v T
		err := dec.Decode(&v)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == io.EOF:
			return nil
		case isCut(err):
			return errCut
		case err != nil:
			return fmt.Errorf("cannot read from the daemon: %v", err)
		}
		if err := each(v); err != nil {
			return err
		}
	}
}

// ErrStreamEnded says that the daemon ended a stream, because it is going away.
var ErrStreamEnded = errors.New("the daemon has ended")
