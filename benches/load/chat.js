// 100 users in a closed loop on /chat, each question different from every other.
// The server is started with --insecure-dev, or KEY is an API key. Usage: k6 run -e BASE=http://127.0.0.1:8080 -e QUESTIONS=queries.jsonl [-e USERS=100 -e SECONDS=60] chat.js
import http from "k6/http";
import exec from "k6/execution";
import { check } from "k6";

const questions = open(__ENV.QUESTIONS).trim().split("\n").map((line) => JSON.parse(line).text);
const seconds = Number(__ENV.SECONDS || 60);

const headers = { "content-type": "application/json" };
if (__ENV.KEY) headers.authorization = `Bearer ${__ENV.KEY}`;

export const options = {
    scenarios: { chat: { executor: "constant-vus", vus: Number(__ENV.USERS || 100), duration: `${seconds}s` } },
    summaryTrendStats: ["min", "med", "p(95)", "p(99)", "max"],
    thresholds: { checks: ["rate==1"] },
};

export default function () {
    const turn = exec.scenario.iterationInTest;
    const message = `${questions[turn % questions.length]} (question ${turn})`;
    const body = JSON.stringify({ message });
    const answer = http.post(`${__ENV.BASE}/chat`, body, { headers });
    check(answer, {
        "status is 200": (response) => response.status === 200,
        "an answer came": (response) => response.status === 200 && response.json("answer").length > 0,
    });
}
