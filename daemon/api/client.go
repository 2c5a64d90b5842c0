package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"syscall"
)

// Client talks to the daemon of one home. It links nothing of the daemon.
type Client struct{ home Home }

// NewClient does not connect yet.
func NewClient(h Home) *Client { return &Client{home: h} }

// Home is the home this client talks to.
func (c *Client) Home() Home { return c.home }

// Get asks for path with the query and decodes the answer into out.
func (c *Client) Get(ctx context.Context, path string, query url.Values, out any) error {
	body, err := c.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	return decode(body, out)
}

// Post sends in and decodes the answer into out.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	body, err := c.do(ctx, http.MethodPost, path, nil, in)
	if err != nil {
		return err
	}
	defer body.Close()
	return decode(body, out)
}

// Stream calls each for every object of a stream that has no end of its own, until
// the daemon ends it, each returns an error (which Stream returns), or ctx ends.
func Stream[T any](ctx context.Context, c *Client, path string, query url.Values, each func(T) error) error {
	err := readStream(ctx, c, path, query, each)
	if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrStreamEnded
	}
	return err
}

// Instances is the process list. It comes in parts, so that the first are decoded
// while the daemon measures the next.
func (c *Client) Instances(ctx context.Context, query url.Values) ([]Instance, error) {
	var all []Instance
	err := readStream(ctx, c, PathInstances, query, func(part []Instance) error {
		all = append(all, part...)
		return nil
	})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrStreamEnded // half a list is none
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// readStream returns nil where the stream has come to its proper end, and
// io.ErrUnexpectedEOF where it was cut off.
func readStream[T any](ctx context.Context, c *Client, path string, query url.Values, each func(T) error) error {
	body, err := c.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	dec := json.NewDecoder(body)
	for {
		var v T
		err := dec.Decode(&v)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return err
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

// Targeted is the query for some targets.
func Targeted(targets ...string) url.Values { return url.Values{"target": targets} }

func (c *Client) do(ctx context.Context, method, path string, query url.Values, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("cannot encode the request: %v", err)
		}
		body = bytes.NewReader(b)
	}
	u := url.URL{Scheme: "http", Host: "gopm", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	resp, err := c.roundTrip(req)
	if err != nil {
		return nil, c.explain(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, readError(resp)
	}
	return resp.Body, nil
}

// roundTrip is one request on a connection of its own. A command makes one or two:
// http.Transport's pool, and the goroutines it takes, would serve nothing here.
func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	conn, err := c.home.Dial()
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(req.Context(), func() { conn.Close() })
	hangUp := func() error {
		stop()
		return conn.Close()
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		hangUp()
		return nil, err
	}
	const answer = 64 << 10 // the list of 100 instances in one read
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, answer), req)
	if err != nil {
		hangUp()
		return nil, err
	}
	resp.Body = &connBody{resp.Body, hangUp}
	return resp, nil
}

// connBody ends the connection with the body.
type connBody struct {
	io.ReadCloser
	hangUp func() error
}

func (b *connBody) Close() error { return b.hangUp() }

// explain turns a failed connection into what it means.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTSOCK), errors.Is(err, syscall.ENOTDIR):
		return &NoDaemonError{Home: c.home.Dir, Why: err}
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot use the home %s: permission denied; it belongs to another user: set GOPM_HOME to a folder of your own", c.home.Dir)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("the daemon ended before it answered; its log: %s", c.home.Log())
	}
	return fmt.Errorf("cannot talk to the daemon at %s: %v", c.home.Socket(), err)
}

func readError(resp *http.Response) error {
	var e Error
	if err := decode(resp.Body, &e); err != nil || e.Message == "" {
		return fmt.Errorf("the daemon answered %s; is it of another version? gopm ping", resp.Status)
	}
	return &e
}

func decode(r io.Reader, out any) error {
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(r).Decode(out); err != nil {
		return fmt.Errorf("cannot read the daemon's answer: %v", err)
	}
	return nil
}
