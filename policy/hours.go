package policy

import (
	"fmt"
	"strings"
	"time"
)

// hours are the value of Match Time.
type hours struct {
	days   []dayRange    // if empty, every day
	ranges []minuteRange // if empty, all day long
}

// dayRange is from one day of the week to another, both included, perhaps over Sunday.
type dayRange struct{ first, last time.Weekday }

// minuteRange is in minutes since midnight; the end is not in it. If the end isn't later than the begin, it is that of
// the next day.
type minuteRange struct{ begin, end int }

const minutesOfDay = 24 * 60

// parseHours reads days and ranges of them, then ranges of times, with commas between. A day after a time would look as if
// it belonged to the times after it, so it is an error.
func parseHours(value string) (hours, error) {
	var h hours
	for word := range strings.SplitSeq(value, ",") {
		if word == "" {
			return hours{}, fmt.Errorf("%q has an empty element", value)
		}
		if '0' <= word[0] && word[0] <= '9' {
			r, err := parseMinuteRange(word)
			if err != nil {
				return hours{}, err
			}
			h.ranges = append(h.ranges, r)
			continue
		}
		r, err := parseDayRange(word)
		if err != nil {
			return hours{}, err
		}
		if h.ranges != nil {
			return hours{}, fmt.Errorf("%q stands after a time: other days with other times want a Match of their own", word)
		}
		h.days = append(h.days, r)
	}
	return h, nil
}

func parseDayRange(word string) (dayRange, error) {
	low, high, isRange := strings.Cut(word, "-")
	first, ok := parseDay(low)
	last, ok2 := first, true
	if isRange {
		last, ok2 = parseDay(high)
	}
	if !ok || !ok2 {
		return dayRange{}, fmt.Errorf("%q is neither days, as Mon or Mon-Fri, nor times, as 08:00-19:00", word)
	}
	return dayRange{first, last}, nil
}

func parseDay(word string) (time.Weekday, bool) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		if strings.EqualFold(word, day.String()[:3]) || strings.EqualFold(word, day.String()) {
			return day, true
		}
	}
	return 0, false
}

func parseMinuteRange(word string) (minuteRange, error) {
	low, high, isRange := strings.Cut(word, "-")
	begin, ok := parseMinute(low)
	end, ok2 := parseMinute(high)
	switch {
	case !isRange || !ok || !ok2 || begin == minutesOfDay:
		return minuteRange{}, fmt.Errorf("%q is not a range of times: write it as 08:00-19:00", word)
	case begin == end:
		return minuteRange{}, fmt.Errorf("%q contains no time: the whole day is 00:00-24:00", word)
	}
	return minuteRange{begin, end}, nil
}

// parseMinute reads HH:MM, from 00:00 to 24:00.
func parseMinute(word string) (int, bool) {
	if len(word) != len("08:00") || word[2] != ':' {
		return 0, false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if word[i] < '0' || word[i] > '9' {
			return 0, false
		}
	}
	hour, minute := int(word[0]-'0')*10+int(word[1]-'0'), int(word[3]-'0')*10+int(word[4]-'0')
	at := hour*60 + minute
	return at, minute < 60 && at <= minutesOfDay
}

// contain reports whether now, by the clock of its zone, is in h. A time that nobody told is in none.
func (h hours) contain(now time.Time) bool {
	if now.IsZero() {
		return false
	}
	today := now.Weekday()
	if len(h.ranges) == 0 {
		return h.onDay(today)
	}
	at := now.Hour()*60 + now.Minute()
	for _, r := range h.ranges {
		switch overMidnight := r.end <= r.begin; {
		case at >= r.begin && (at < r.end || overMidnight) && h.onDay(today),
			overMidnight && at < r.end && h.onDay((today+6)%7):
			return true
		}
	}
	return false
}

func (h hours) onDay(day time.Weekday) bool {
	for _, r := range h.days {
		if (day-r.first+7)%7 <= (r.last-r.first+7)%7 {
			return true
		}
	}
	return len(h.days) == 0
}

// String returns h as [parseHours] reads it.
func (h hours) String() string {
	var words []string
	for _, r := range h.days {
		word := r.first.String()[:3]
		if r.last != r.first {
			word += "-" + r.last.String()[:3]
		}
		words = append(words, word)
	}
	for _, r := range h.ranges {
		words = append(words, fmt.Sprintf("%02d:%02d-%02d:%02d", r.begin/60, r.begin%60, r.end/60, r.end%60))
	}
	return strings.Join(words, ",")
}
