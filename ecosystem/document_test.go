package ecosystem

import (
	"maps"
	"strings"
	"testing"
)

func TestDocument(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want map[string]string
		err  string
	}{
		"dotenv":      {"# all\nexport PORT=3000\nGREETING=\"a b\" # said\n", map[string]string{"PORT": "3000", "GREETING": "a b"}, ""},
		"json":        {` {"PORT": 3000, "ON": true, "NAME": "x\ny", "LIST": [1, 2], "NO": null}`, map[string]string{"PORT": "3000", "ON": "true", "NAME": "x\ny", "LIST": "[1,2]"}, ""},
		"empty":       {"", map[string]string{}, ""},
		"bad json":    {"{\"A\": \"sesame\",\n ]}", nil, "2:2: it is no valid JSON"},
		"a list":      {`["sesame"]`, nil, "want a JSON object of variables"},
		"bad line":    {"A=1\nsesame\n", nil, "2:1: want lines NAME=value, or a JSON object"},
		"open quote":  {"A=\"sesame", nil, "1:3: want lines NAME=value, or a JSON object"},
		"ends early":  {`{"A": "sesame"`, nil, "1:"},
		"not a name":  {"ö sesame=1", nil, "1:1: want lines"},
		"binary text": {"\x00\x01sesame", nil, "1:1: want lines"},
	} {
		got, err := Document([]byte(c.text))
		switch {
		case c.err == "" && (err != nil || !maps.Equal(got, c.want)):
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		case c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)):
			t.Errorf("%s: error %v, want %s", name, err, c.err)
		case err != nil && strings.Contains(err.Error(), "sesame"):
			t.Errorf("%s: the error tells what is there: %v", name, err)
		}
	}
}
