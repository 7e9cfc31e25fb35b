// What a Go programmer would write: net/http, encoding/json and a pgx pool.
//
// It answers minimal questions in canonical text as the service does: the same checks, the same
// table, the same members. Built by bench/peers/golang.py.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

// As many as keep one core of PostgreSQL busy, with some to spare; like the other peers.
const connections = 8

const maxBody = 64 << 10

const selectOne = `SELECT kind::text, issue_date::text, amount::text, tax::text, total::text,
check_code, seller_tax_id, buyer_tax_id, status::text, red_letter_of, red_letters, seller_name,
buyer_name FROM invoice WHERE key = $1::text`

type question struct {
	Kind        *string `json:"kind"`
	Code        *string `json:"code"`
	Number      *string `json:"number"`
	Date        *string `json:"date"`
	CheckCode   *string `json:"check_code"`
	Amount      *string `json:"amount"`
	Total       *string `json:"total"`
	SellerTaxID *string `json:"seller_tax_id"`
	BuyerTaxID  *string `json:"buyer_tax_id"`
	Reference   *string `json:"reference"`
	QR          *string `json:"qr"`
}

type invoice struct {
	kind, date, amount, tax, total, checkCode, sellerTaxID, buyerTaxID, status string
	redLetterOf                                                                *string
	redLetters                                                                 []string
	sellerName, buyerName                                                      string
}

type server struct {
	pool   *pgxpool.Pool
	oldest string
	today  string
	ids    atomic.Uint64
}

var (
	digits    = regexp.MustCompile(`^[0-9]+$`)
	money     = regexp.MustCompile(`^-?(0|[1-9][0-9]*)\.[0-9]{2}$`)
	checkCode = regexp.MustCompile(`^[0-9a-f]{5,20}$`)
	shanghai  = time.FixedZone("CST", 8*3600)
	usable    = map[string]bool{"normal": true, "partially_red_flushed": true}
	regions   struct {
		Numbers map[string]string `json:"numbers"`
		Cities  []string          `json:"cities"`
	}
)

func main() {
	config, err := pgxpool.ParseConfig(os.Getenv("BENCH_DSN"))
	if err != nil {
		log.Fatal(err)
	}
	config.MaxConns, config.MinConns = connections, connections
	config.MaxConnLifetime, config.MaxConnIdleTime = 1000*time.Hour, 1000*time.Hour
	config.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	config.ConnConfig.RuntimeParams["jit"] = "off"
	config.ConnConfig.RuntimeParams["DateStyle"] = "ISO, YMD"
	pool, err := pgxpool.ConnectConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.Unmarshal([]byte(os.Getenv("BENCH_REGIONS")), &regions); err != nil {
		log.Fatal(err)
	}
	now := time.Now().In(shanghai)
	serving := &server{
		pool:   pool,
		oldest: now.AddDate(-5, 0, 0).Format("2006-01-02"),
		today:  now.Format("2006-01-02"),
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/v1/verify", serving.verify)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() { <-ended; os.Exit(0) }()
	fmt.Printf("ready http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, routes))
}

func (s *server) verify(writer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(io.LimitReader(request.Body, maxBody+1))
	if err != nil || len(body) > maxBody {
		http.Error(writer, "the body is too large, or broken", http.StatusBadRequest)
		return
	}
	var asked question
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	key, wrong := s.check(&asked)
	if wrong != "" {
		http.Error(writer, wrong, http.StatusUnprocessableEntity)
		return
	}
	found, err := s.load(request.Context(), key)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusServiceUnavailable)
		return
	}
	var answer bytes.Buffer
	s.encode(&answer, &asked, found)
	header := writer.Header()
	header["Content-Type"] = []string{"application/json"}
	header["Content-Length"] = []string{strconv.Itoa(answer.Len())}
	_, _ = writer.Write(answer.Bytes())
}

// check returns the key of a question, or what is wrong with it.
func (s *server) check(asked *question) (string, string) {
	if asked.QR != nil || asked.Number == nil || !digits.MatchString(*asked.Number) {
		return "", "number: expected digits"
	}
	if asked.Date == nil {
		return "", "date: expected"
	}
	if _, err := time.Parse("2006-01-02", *asked.Date); err != nil {
		return "", "date: " + err.Error()
	}
	if *asked.Date < s.oldest || *asked.Date > s.today {
		return "", "date: out of scope"
	}
	for _, each := range []*string{asked.Amount, asked.Total} {
		if each != nil && !money.MatchString(*each) {
			return "", "amount, total: expected two decimals"
		}
	}
	if asked.CheckCode != nil && !checkCode.MatchString(*asked.CheckCode) {
		return "", "check_code: expected 5 characters at least"
	}
	switch {
	case len(*asked.Number) == 20 && asked.Code == nil && asked.Total != nil:
		return *asked.Number, ""
	case len(*asked.Number) != 8 || asked.Code == nil || !digits.MatchString(*asked.Code):
		return "", "number, code: expected those of an invoice"
	case asked.Amount == nil && asked.Total == nil && asked.CheckCode == nil:
		return "", "expected amount, total or check_code"
	}
	return *asked.Code + "-" + *asked.Number, ""
}

func (s *server) load(context context.Context, key string) (*invoice, error) {
	var row invoice
	err := s.pool.QueryRow(context, selectOne, key).Scan(
		&row.kind, &row.date, &row.amount, &row.tax, &row.total, &row.checkCode, &row.sellerTaxID,
		&row.buyerTaxID, &row.status, &row.redLetterOf, &row.redLetters, &row.sellerName,
		&row.buyerName,
	)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	return &row, err
}

func (row *invoice) mismatched(asked *question) []string {
	var names []string
	differs := func(name string, given *string, held string) {
		if given != nil && *given != held {
			names = append(names, name)
		}
	}
	differs("amount", asked.Amount, row.amount)
	differs("buyer_tax_id", asked.BuyerTaxID, row.buyerTaxID)
	if asked.CheckCode != nil && !strings.HasSuffix(row.checkCode, *asked.CheckCode) {
		names = append(names, "check_code")
	}
	differs("date", asked.Date, row.date)
	differs("kind", asked.Kind, row.kind)
	differs("seller_tax_id", asked.SellerTaxID, row.sellerTaxID)
	differs("total", asked.Total, row.total)
	return names
}

func (s *server) encode(answer *bytes.Buffer, asked *question, row *invoice) {
	if row == nil {
		answer.WriteString(`{"verdict":"not_found"`)
	} else if names := row.mismatched(asked); names != nil {
		answer.WriteString(`{"verdict":"mismatch","mismatched":["`)
		answer.WriteString(strings.Join(names, `","`))
		answer.WriteString(`"]`)
	} else {
		row.encode(answer, asked)
	}
	answer.WriteString(`,"hints":[],"freshness":{"as_of":"`)
	answer.WriteString(time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	answer.WriteString(`","source":"primary","stale":false},"id":"0123456789ab`)
	answer.WriteString(strconv.FormatUint(s.ids.Add(1), 10))
	answer.WriteString(`","reference":`)
	if asked.Reference == nil {
		answer.WriteString("null")
	} else {
		quote(answer, *asked.Reference)
	}
	answer.WriteByte('}')
}

func (row *invoice) encode(answer *bytes.Buffer, asked *question) {
	text := func(name, value string) {
		answer.WriteString(`,"` + name + `":"` + value + `"`)
	}
	code, region := "", regions.Numbers[(*asked.Number)[2:4]]
	if asked.Code != nil {
		code = *asked.Code
		region = regionOf(code)
	}
	answer.WriteString(`{"verdict":"match","status":"` + row.status + `","usable":`)
	answer.WriteString(strconv.FormatBool(usable[row.status]))
	answer.WriteString(`,"invoice":{"kind":"` + row.kind + `"`)
	text("code", code)
	text("number", *asked.Number)
	text("date", row.date)
	text("region", region)
	text("amount", row.amount)
	text("tax", row.tax)
	text("total", row.total)
	text("seller_tax_id", row.sellerTaxID)
	answer.WriteString(`,"seller_name":`)
	quote(answer, row.sellerName)
	text("buyer_tax_id", row.buyerTaxID)
	answer.WriteString(`,"buyer_name":`)
	quote(answer, row.buyerName)
	answer.WriteString(`,"red_letter_of":`)
	if row.redLetterOf == nil {
		answer.WriteString("null")
	} else {
		reference(answer, *row.redLetterOf)
	}
	answer.WriteString(`,"red_letters":[`)
	for index, key := range row.redLetters {
		if index > 0 {
			answer.WriteByte(',')
		}
		reference(answer, key)
	}
	answer.WriteString("]}")
}

func regionOf(code string) string {
	digits := code[:4]
	if len(code) == 12 {
		digits = code[1:5]
	}
	for _, city := range regions.Cities {
		if city == digits {
			return digits
		}
	}
	return digits[:2] + "00"
}

func reference(answer *bytes.Buffer, key string) {
	code, number, found := strings.Cut(key, "-")
	if !found {
		code, number = "", key
	}
	answer.WriteString(`{"code":"` + code + `","number":"` + number + `"}`)
}

func quote(answer *bytes.Buffer, text string) {
	encoder := json.NewEncoder(answer)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text)
	answer.Truncate(answer.Len() - 1)
}
