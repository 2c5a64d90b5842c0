package ecosystem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Document reads the variables of one text that isn't a file of ours: a JSON object, or
// lines as in an env_file. Objects and lists in the JSON become JSON text, and null is no
// variable. Its error says where it is wrong, and nothing of what is there: that may be a
// secret.
func Document(text []byte) (map[string]string, error) {
	if begin := bytes.TrimSpace(text); len(begin) > 0 && (begin[0] == '{' || begin[0] == '[') {
		return jsonDocument(text)
	}
	found, err := parseDotenv(text)
	if err != nil {
		at, _, _ := strings.Cut(err.Error(), ": ")
		return nil, fmt.Errorf("%s: want lines NAME=value, or a JSON object", at)
	}
	vars := make(map[string]string, len(found))
	for name, v := range found {
		vars[name] = v.value
	}
	return vars, nil
}

func jsonDocument(text []byte) (map[string]string, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		var wrong *json.SyntaxError
		if errors.As(err, &wrong) {
			l := newLines(text)
			return nil, fmt.Errorf("%v: it is no valid JSON", l.clamp(l.at(max(int(wrong.Offset)-1, 0))))
		}
		return nil, errors.New("want a JSON object of variables")
	}
	vars := make(map[string]string, len(members))
	for name, raw := range members {
		switch raw[0] {
		case 'n': // null
		case '"':
			var value string
			if err := json.Unmarshal(raw, &value); err != nil {
				return nil, errors.New("it is no valid JSON")
			}
			vars[name] = value
		case '{', '[':
			var b bytes.Buffer
			_ = json.Compact(&b, raw) // it was read before
			vars[name] = b.String()
		default:
			vars[name] = string(raw)
		}
	}
	return vars, nil
}
