package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// errMalformed is the cause where an answer isn't HTTP as it should be.
var errMalformed = errors.New("not an answer")

// maxBody is more than any server of ours says.
const maxBody = 16 << 20

// Answer is what is read of a server's answer.
type Answer struct {
	Status  int
	Pid, ID string // test servers say them
	Body    []byte
	keep    bool // the connection may be used again
}

func appendRequest(b []byte, path, id string, keep bool) []byte {
	b = fmt.Appendf(b, "GET %s HTTP/1.1\r\nHost: localhost\r\nX-Id: %s\r\n", path, id)
	if !keep {
		b = append(b, "Connection: close\r\n"...)
	}
	return append(b, "\r\n"...)
}

// frame is how an answer says where it ends.
type frame struct {
	length  int // -1: not said
	chunked bool
}

// readAnswer reads one answer to its end. An end that comes early is io.ErrUnexpectedEOF.
func readAnswer(in *bufio.Reader) (Answer, error) {
	a, f, err := readHead(in)
	if err != nil {
		return a, early(err)
	}
	switch {
	case f.chunked:
		a.Body, err = readChunks(in)
	case f.length >= 0:
		a.Body = make([]byte, f.length)
		_, err = io.ReadFull(in, a.Body)
	default: // the end of the connection is the end of the answer
		a.keep = false
		a.Body, err = io.ReadAll(io.LimitReader(in, maxBody))
	}
	return a, early(err)
}

// early turns the end of the stream inside an answer into what it is.
func early(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func readHead(in *bufio.Reader) (Answer, frame, error) {
	a, f := Answer{}, frame{length: -1}
	status, err := readLine(in)
	if err != nil {
		return a, f, err
	}
	version, rest, _ := strings.Cut(status, " ")
	code, _, _ := strings.Cut(rest, " ")
	if a.Status, err = strconv.Atoi(code); err != nil || !strings.HasPrefix(version, "HTTP/1.") {
		return a, f, fmt.Errorf("%w: %q", errMalformed, status)
	}
	a.keep = version == "HTTP/1.1"
	for {
		line, err := readLine(in)
		if err != nil || line == "" {
			return a, f, err
		}
		name, value, found := strings.Cut(line, ":")
		if !found {
			return a, f, fmt.Errorf("%w: header %q", errMalformed, line)
		}
		if err := a.header(&f, strings.ToLower(name), strings.TrimSpace(value)); err != nil {
			return a, f, err
		}
	}
}

// header takes what matters of a header.
func (a *Answer) header(f *frame, name, value string) error {
	switch name {
	case "content-length":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > maxBody {
			return fmt.Errorf("%w: a length of %q", errMalformed, value)
		}
		f.length = n
	case "transfer-encoding":
		f.chunked = strings.EqualFold(value, "chunked")
	case "connection":
		if strings.EqualFold(value, "close") {
			a.keep = false
		}
	case "x-pid":
		a.Pid = value
	case "x-id":
		a.ID = value
	}
	return nil
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: a line without end", errMalformed)
	}
	if err != nil {
		return "", err
	}
	return string(bytes.TrimRight(line, "\r\n")), nil
}

func readChunks(in *bufio.Reader) ([]byte, error) {
	var body []byte
	for {
		line, err := readLine(in)
		if err != nil {
			return body, err
		}
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 31)
		if err != nil || len(body)+int(n) > maxBody {
			return body, fmt.Errorf("%w: chunk of %q", errMalformed, line)
		}
		chunk := make([]byte, n)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return body, err
		}
		body = append(body, chunk...)
		if line, err := readLine(in); err != nil || line != "" { // trailers: no server of ours has any
			return body, orElse(err, fmt.Errorf("%w: %q after a chunk", errMalformed, line))
		}
		if n == 0 {
			return body, nil
		}
	}
}

// check says what is wrong with an answer to the request id.
func (a *Answer) check(id, body string) error {
	if body == "" && a.Pid != "" {
		body = a.Pid + " " + id + "\n"
	}
	switch {
	case a.Status != 200:
		return fmt.Errorf("status %d: %.80q", a.Status, a.Body)
	case a.Pid != "" && a.ID != id:
		return fmt.Errorf("the answer to %q was given to %q", a.ID, id)
	case body != "" && string(a.Body) != body:
		return fmt.Errorf("body %.80q instead of %.80q", a.Body, body)
	}
	return nil
}
