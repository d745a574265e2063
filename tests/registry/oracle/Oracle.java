import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.avro.AvroRuntimeException;
import org.apache.avro.NameValidator;
import org.apache.avro.Schema;
import org.apache.avro.SchemaCompatibility;
import org.apache.avro.SchemaCompatibility.Incompatibility;
import org.apache.avro.SchemaNormalization;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.io.DecoderFactory;

/**
 * Answers each line of its input, a JSON object, with a line of its output, until the input ends.
 *
 * <p>{reader, writer}: whether they are compatible, and each incompatibility's type, location and message; or what the
 * check itself failed with, which is as incompatible. {schema}: its text, its parsing canonical form, and the CRC-64 of
 * that in hexadecimal. With strict: true they are parsed as new schemas, else as what a registry has kept. What is not
 * parsed is {refused: why}. {reader, writer, body}: what the reader makes of the writer's bytes, given in hexadecimal.
 */
public final class Oracle {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] arguments) throws IOException {
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    var out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      out.write(JSON.writeValueAsString(answer(line)));
      out.write('\n');
      if (!in.ready()) {
        out.flush();
      }
    }
    out.flush();
  }

  private static ObjectNode answer(String line) throws IOException {
    JsonNode question = JSON.readTree(line);
    boolean strict = question.path("strict").asBoolean();
    ObjectNode answer = JSON.createObjectNode();
    try {
      if (question.has("schema")) {
        describe(parse(question.get("schema"), strict), answer);
      } else if (question.has("body")) {
        read(
            parse(question.get("reader"), strict),
            parse(question.get("writer"), strict),
            HexFormat.of().parseHex(question.get("body").asText()),
            answer);
      } else {
        compare(
            parse(question.get("reader"), strict), parse(question.get("writer"), strict), answer);
      }
    } catch (RuntimeException | StackOverflowError problem) {
      answer.put("refused", problem.getClass().getSimpleName() + ": " + problem.getMessage());
    }
    return answer;
  }

  private static Schema parse(JsonNode schema, boolean strict) {
    var parser = strict ? new Schema.Parser() : new Schema.Parser(NameValidator.NO_VALIDATION);
    return parser.setValidateDefaults(strict).parse(schema.toString());
  }

  private static void describe(Schema schema, ObjectNode answer) {
    answer
        .put("text", schema.toString())
        .put("canonical", SchemaNormalization.toParsingForm(schema))
        .put("crc64", HexFormat.of().toHexDigits(SchemaNormalization.parsingFingerprint64(schema)));
  }

  private static void read(Schema reader, Schema writer, byte[] body, ObjectNode answer) {
    try {
      var decoder = DecoderFactory.get().binaryDecoder(body, null);
      Object value = new GenericDatumReader<>(writer, reader).read(null, decoder);
      answer.put("read", GenericData.get().toString(value)).put("rest", decoder.isEnd() ? 0 : 1);
    } catch (IOException | RuntimeException problem) {
      answer.put("failed", problem.getClass().getSimpleName() + ": " + problem.getMessage());
    }
  }

  private static void compare(Schema reader, Schema writer, ObjectNode answer) {
    ArrayNode found = answer.putArray("incompatibilities");
    try {
      var result = SchemaCompatibility.checkReaderWriterCompatibility(reader, writer).getResult();
      for (Incompatibility one : result.getIncompatibilities()) {
        found
            .addObject()
            .put("type", one.getType().name())
            .put("location", one.getLocation())
            .put("message", one.getMessage());
      }
      answer.put("compatible", found.isEmpty());
    } catch (AvroRuntimeException undecided) {
      answer.put("compatible", false).put("failed", undecided.getMessage());
    }
  }
}
