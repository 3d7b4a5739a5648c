// 100 users in a closed loop on /chat, each question different from every other; with TURNS above 1 in sessions of so many
// questions, of which all but the first lean on it.
// The server is started with --insecure-dev, or KEY is an API key. Usage: k6 run -e BASE=http://127.0.0.1:8080 -e QUESTIONS=queries.jsonl [-e USERS=100 -e SECONDS=60 -e TURNS=1 -e RUN=NAME] chat.js
import http from "k6/http";
import exec from "k6/execution";
import { check } from "k6";

const questions = open(__ENV.QUESTIONS).trim().split("\n").map((line) => JSON.parse(line).text);
const seconds = Number(__ENV.SECONDS || 60);
const turns = Number(__ENV.TURNS || 1);
const run = __ENV.RUN || Date.now();
const followUps = ["Why is that?", "Who found it out, and when?", "What else is known about it?", "And where did they do so?"];

const headers = { "content-type": "application/json" };
if (__ENV.KEY) headers.authorization = `Bearer ${__ENV.KEY}`;

export const options = {
    scenarios: { chat: { executor: "constant-vus", vus: Number(__ENV.USERS || 100), duration: `${seconds}s` } },
    summaryTrendStats: ["min", "med", "p(95)", "p(99)", "max"],
    thresholds: { checks: ["rate==1"] },
};

export default function () {
    const number = exec.scenario.iterationInTest;
    for (let turn = 0; turn < turns; turn++) {
        const asked = turn === 0 ? questions[number % questions.length] : followUps[turn % followUps.length];
        ask(`${asked} (question ${number}.${turn})`, turns > 1 ? `${run}-${number}` : undefined);
    }
}

function ask(message, session_id) {
    const body = JSON.stringify({ message, session_id });
    const answer = http.post(`${__ENV.BASE}/chat`, body, { headers });
    check(answer, {
        "status is 200": (response) => response.status === 200,
        "an answer came": (response) => response.status === 200 && response.json("answer").length > 0,
    });
}
