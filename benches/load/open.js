// Questions that come at a rate, whether the service keeps up or not, each different from every other; then two a second, to see it recover.
// The server is started with --insecure-dev, or KEY is an API key. Usage: k6 run -e BASE=http://127.0.0.1:8080 -e QUESTIONS=queries.jsonl -e RATE=200 [-e SECONDS=60] open.js
// An answer is right, or refused with 429 or 503 and a time to come back; anything else is counted as wrong.
import http from "k6/http";
import exec from "k6/execution";
import { check } from "k6";
import { Counter, Trend } from "k6/metrics";

const questions = open(__ENV.QUESTIONS).trim().split("\n").map((line) => JSON.parse(line).text);
const seconds = Number(__ENV.SECONDS || 60);
const rate = Number(__ENV.RATE);
const run = __ENV.RUN || Date.now();

const answered = new Counter("answered");
const shed = new Counter("shed");
const answerTime = new Trend("answer_time", true);
const recovery = new Trend("recovery_time", true);

const headers = { "content-type": "application/json" };
if (__ENV.KEY) headers.authorization = `Bearer ${__ENV.KEY}`;

export const options = {
    scenarios: {
        arrivals: {
            executor: "constant-arrival-rate",
            rate,
            timeUnit: "1s",
            duration: `${seconds}s`,
            preAllocatedVUs: Number(__ENV.USERS || 300),
            maxVUs: Number(__ENV.MOST_USERS || 2000),
            gracefulStop: "30s",
        },
        recovered: {
            executor: "constant-arrival-rate",
            rate: 2,
            timeUnit: "1s",
            startTime: `${seconds}s`,
            duration: "10s",
            preAllocatedVUs: 20,
            exec: "afterwards",
        },
    },
    summaryTrendStats: ["min", "med", "p(95)", "p(99)", "max"],
    thresholds: { checks: ["rate==1"] },
};

function ask() {
    const turn = `${exec.scenario.name} ${exec.scenario.iterationInTest}`;
    const message = `${questions[exec.scenario.iterationInTest % questions.length]} (question ${run} ${turn})`;
    return http.post(`${__ENV.BASE}/chat`, JSON.stringify({ message }), { headers });
}

function isDeliberate(response) {
    return (response.status === 429 || response.status === 503) && response.headers["Retry-After"] !== undefined;
}

export default function () {
    const response = ask();
    if (response.status === 200) {
        answered.add(1);
        answerTime.add(response.timings.duration);
    } else if (isDeliberate(response)) {
        shed.add(1);
    }
    check(response, { "answered or deliberately refused": (response) => response.status === 200 || isDeliberate(response) });
}

export function afterwards() {
    const response = ask();
    const since = exec.instance.currentTestRunDuration - seconds * 1000;
    recovery.add(response.timings.duration);
    if (since > 5000) {
        check(response, { "recovered within 5 s": (response) => response.status === 200 });
    }
}
