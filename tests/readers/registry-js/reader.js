// What a JavaScript consumer has: kafkajs and its registry client. The arguments and the lines that go out are those of
// ../registry.py; NODE_PATH leads to the packages.
"use strict";

const { parseArgs } = require("node:util");
const { Kafka, CompressionCodecs, CompressionTypes, logLevel } = require("kafkajs");
const Lz4 = require("@2l/kafkajs-lz4");
const { SchemaRegistry } = require("@kafkajs/confluent-schema-registry");

// What the bridge compresses with, and kafkajs alone cannot read.
CompressionCodecs[CompressionTypes.LZ4] = new Lz4().codec;

const text = { type: "string" };
const { values: options } = parseArgs({
  options: { brokers: text, registry: text, "topic-prefix": text, "until-count": text, "timeout-s": text },
});
const prefix = options["topic-prefix"] + ".";
const count = Number(options["until-count"]);
const timeoutS = Number(options["timeout-s"] ?? "60");

async function run() {
  const registry = new SchemaRegistry({ host: options.registry });
  const kafka = new Kafka({ brokers: options.brokers.split(","), logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(prefix));
  await admin.disconnect();
  const consumer = kafka.consumer({ groupId: `${prefix}js` });
  await consumer.connect();
  await consumer.subscribe({ topics, fromBeginning: true });
  let seen = 0;
  await new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${timeoutS} s are over after ${seen} messages`)), timeoutS * 1000).unref();
    consumer.run({
      eachMessage: async ({ topic, partition, message }) => {
        try {
          const value = await registry.decode(message.value);
          const key = message.key.toString();
          if (seen < count) process.stdout.write(JSON.stringify({ topic, partition, key, value }) + "\n");
        } catch (problem) {
          reject(problem);
        }
        if (++seen >= count) resolve();
      },
    }).catch(reject);
  });
}

run().then(
  () => process.exit(0),
  (problem) => {
    process.stderr.write(`reader.js: ${problem.stack}\n`);
    process.exit(3);
  },
);
