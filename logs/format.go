package logs

// Format is how lines are written. Anything but its zero value needs whole lines.
type Format struct {
	Layout string // what stands before a line, in the words of day.js: "YYYY-MM-DD HH:mm:ss.SSS Z"; "" = no time
	JSON   bool   // one object per line, with the keys of pm2
	App    string // for JSON
	ID     int
	Err    bool // stderr
}
